// Sends the code of the link, and takes it out of the history.
const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", "/");
  document.getElementById("code").value = code;
  document.getElementById("open").submit();
}
