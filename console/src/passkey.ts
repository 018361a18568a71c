// Passkeys (WebAuthn Level 3): signing a decision about a waiting call.

import { ask } from "./api";

interface Options {
  publicKey: { challenge: string; rpId?: string; timeout?: number; userVerification?: UserVerificationRequirement; allowCredentials?: { id: string; type: "public-key" }[] };
}

const bytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
const text = (buffer: ArrayBuffer): string =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

/** Let the person's passkey sign a decision, over the request and its hash; gives what `approvals.decide` takes. */
export async function sign(id: string, decision: "approve" | "deny"): Promise<object> {
  const { options } = await ask<{ options: Options }>("approvals.challenge", { id, decision, origin: location.origin });
  const known = options.publicKey;
  const made = await navigator.credentials.get({
    publicKey: {
      ...known, challenge: bytes(known.challenge),
      allowCredentials: (known.allowCredentials ?? []).map((one) => ({ ...one, id: bytes(one.id) })),
    },
  });
  if (!(made instanceof PublicKeyCredential) || !(made.response instanceof AuthenticatorAssertionResponse)) throw new Error("the passkey gave no signature");
  const answer = made.response;
  const encoded = {
    id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {},
    response: {
      clientDataJSON: text(answer.clientDataJSON), authenticatorData: text(answer.authenticatorData), signature: text(answer.signature),
      ...(answer.userHandle ? { userHandle: text(answer.userHandle) } : {}),
    },
  };
  return { response: JSON.stringify(encoded), origin: location.origin };
}
