// Passkeys (WebAuthn) for the sign-in pages: asks the server for options, the browser for an answer, and goes on.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function post(path, body, csrf) {
  const headers = { "content-type": "application/json" };
  if (csrf) headers["x-csrf-token"] = csrf;
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin" });
  const said = await response.json();
  if (!response.ok) throw new Error(said.detail || said.title || "this did not work");
  return said;
}

function decoded(options) {
  const known = { ...options.publicKey, challenge: bytes(options.publicKey.challenge) };
  if (known.user) known.user = { ...known.user, id: bytes(known.user.id) };
  for (const list of ["excludeCredentials", "allowCredentials"])
    if (known[list]) known[list] = known[list].map((one) => ({ ...one, id: bytes(one.id) }));
  return known;
}

function encoded(made) {
  const answer = made.response;
  const response = { clientDataJSON: text(answer.clientDataJSON) };
  if (answer.attestationObject) response.attestationObject = text(answer.attestationObject);
  if (answer.authenticatorData) {
    response.authenticatorData = text(answer.authenticatorData);
    response.signature = text(answer.signature);
    if (answer.userHandle) response.userHandle = text(answer.userHandle);
  }
  return { id: made.id, rawId: text(made.rawId), type: made.type, response, clientExtensionResults: {} };
}

async function go(button) {
  const { step, after, csrf, id, decision } = button.dataset;
  const about = id ? { id, decision } : {};
  const asked = await post(`/sign-in/${step}/ask`, about, csrf);
  const publicKey = decoded(asked.options);
  const made = publicKey.user
    ? await navigator.credentials.create({ publicKey })
    : await navigator.credentials.get({ publicKey });
  await post(`/sign-in/${step}`, { ...about, next: asked.next, response: JSON.stringify(encoded(made)) }, csrf);
  location.assign(after);
}

for (const button of document.querySelectorAll("button.passkey")) {
  if (!window.PublicKeyCredential) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await go(button);
    } catch (fault) {
      const place = document.querySelector(".trouble") || document.createElement("p");
      place.className = "trouble";
      place.setAttribute("role", "alert");
      place.textContent = fault.message;
      document.querySelector("h1").after(place);
      button.disabled = false;
    }
  });
}
