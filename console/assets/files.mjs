// read asks the server for a file of the log, and never the cache of the browser: what is there
// now is verified. It returns null for a file that is not there.
export async function read(path) {
  const answer = await fetch("/audit/" + path, { cache: "no-store" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(path + " was answered with " + answer.status);
  return new Uint8Array(await answer.arrayBuffer());
}
