// Passkeys: what a form asks for, the browser makes, and the form takes it to the server.

const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const toText = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

const descriptor = (d) => ({ ...d, id: toBytes(d.id) });

// Newer browsers read and write these forms by themselves. Older ones know the same fields.
function read(kind, options) {
  const o = { ...options, challenge: toBytes(options.challenge) };
  if (kind === "create") {
    o.user = { ...o.user, id: toBytes(o.user.id) };
    o.excludeCredentials = (o.excludeCredentials ?? []).map(descriptor);
  } else {
    o.allowCredentials = (o.allowCredentials ?? []).map(descriptor);
  }
  return o;
}

function write(c) {
  const response = { clientDataJSON: toText(c.response.clientDataJSON) };
  if (c.response.attestationObject) {
    response.attestationObject = toText(c.response.attestationObject);
    response.transports = c.response.getTransports?.() ?? [];
  } else {
    response.authenticatorData = toText(c.response.authenticatorData);
    response.signature = toText(c.response.signature);
    if (c.response.userHandle) response.userHandle = toText(c.response.userHandle);
  }
  return JSON.stringify({
    id: c.id, rawId: toText(c.rawId), type: c.type, response, clientExtensionResults: {},
  });
}

// said is what went wrong, for people.
function said(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "No passkey was used: it was cancelled, or took too long.";
    case "InvalidStateError":
      return "This device has a passkey of yours already.";
    case "SecurityError":
      return "The browser uses no passkeys here: it does not trust this page. atmctl trust helps on this machine.";
  }
  return "The browser could not use a passkey: " + error.message;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const problem = form.querySelector("[data-said]");
  const button = form.querySelector("button");
  const say = (sentence) => {
    problem.textContent = sentence;
    problem.hidden = !sentence;
  };
  const here = location.origin === form.dataset.origin;
  if (!here || !window.PublicKeyCredential) {
    say(here ? "This browser has no passkeys. Use another one, or another way."
      : `Passkeys work at ${form.dataset.origin}/console/, and not on this page.`);
    for (const part of form.querySelectorAll("button, .field")) part.hidden = true; // they could do nothing
    continue;
  }
  // Before this script runs, the form would go without a passkey.
  button.disabled = false;
  if (button.autofocus) button.focus();
  form.addEventListener("submit", async (event) => {
    if (form.elements.response.value) return;
    event.preventDefault();
    button.disabled = true;
    say("");
    try {
      const kind = form.dataset.passkey;
      const publicKey = read(kind, JSON.parse(form.dataset.options));
      form.elements.response.value = write(await navigator.credentials[kind]({ publicKey }));
      form.submit();
    } catch (error) {
      say(said(error));
      button.disabled = false;
    }
  });
}

// A page that the browser kept is to ask again: its challenge was used.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
