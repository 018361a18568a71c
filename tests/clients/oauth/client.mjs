// oauth4webapi as an independent client: `node client.mjs ISSUER`, with what it needs as JSON on standard input.
// It prints one JSON object: what came of each step.
import * as oauth from 'oauth4webapi'
import { readFileSync } from 'node:fs'

const given = JSON.parse(readFileSync(0, 'utf8'))
const plain = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(process.argv[2])
const out = {}

const as = await oauth.processDiscoveryResponse(
  issuer, await oauth.discoveryRequest(issuer, { ...plain, algorithm: 'oauth2' }))
out.issuer = as.issuer

const resource = new URL(given.resource)
const rs = await oauth.processResourceDiscoveryResponse(
  resource, await oauth.resourceDiscoveryRequest(resource, plain))
out.resource = rs.resource

async function open(url) {
  // the person's browser: the test's own server presses the button, and says where the browser was sent
  const answer = await fetch(given.browser, { method: 'POST', body: url.href })
  return new URL(await answer.text())
}

async function error(promise) {
  try {
    await promise
    return 'accepted'
  } catch (e) {
    return e.error ?? e.code ?? e.message
  }
}

const app = { client_id: given.app }
const none = oauth.None()
const back = given.back
const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()

function authorization(changes = {}) {
  const url = new URL(as.authorization_endpoint)
  const fields = {
    client_id: app.client_id, redirect_uri: back, response_type: 'code', scope: 'files.*', state,
    code_challenge_method: 'S256', resource: given.resource, ...changes,
  }
  for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value)
  return url
}

const url = authorization({ code_challenge: await oauth.calculatePKCECodeChallenge(verifier) })
const params = oauth.validateAuthResponse(as, app, await open(url), state)
const code = await oauth.processAuthorizationCodeResponse(as, app, await oauth.authorizationCodeGrantRequest(
  as, app, none, params, back, verifier, { ...plain, additionalParameters: { resource: given.resource } }))
out.code = { type: code.token_type, scope: code.scope, life: code.expires_in }

async function whoami(token) {
  const answer = await oauth.protectedResourceRequest(
    token, 'POST', new URL(given.whoami), new Headers({ 'content-type': 'application/json' }), '{}', plain)
  return (await answer.json()).output
}
out.whoami = await whoami(code.access_token)
out.replayed_code = await error((async () => oauth.processAuthorizationCodeResponse(as, app,
  await oauth.authorizationCodeGrantRequest(as, app, none, params, back, verifier, plain)))())
out.after_replay = await error(whoami(code.access_token))

// a fresh one, for rotation
const again = await open(authorization({ code_challenge: await oauth.calculatePKCECodeChallenge(verifier) }))
const first = await oauth.processAuthorizationCodeResponse(as, app, await oauth.authorizationCodeGrantRequest(
  as, app, none, oauth.validateAuthResponse(as, app, again, state), back, verifier, plain))
const refresh = async (token) => oauth.processRefreshTokenResponse(
  as, app, await oauth.refreshTokenGrantRequest(as, app, none, token, plain))
const second = await refresh(first.refresh_token)
out.rotated = second.refresh_token !== first.refresh_token
out.reused = await error(refresh(first.refresh_token))
out.family = await error(refresh(second.refresh_token))

// another issuer in the answer, and no PKCE
const mixed = new URL(again)
mixed.searchParams.set('iss', 'https://evil.example')
try { oauth.validateAuthResponse(as, app, mixed, state); out.mixed_up = 'accepted' } catch (e) { out.mixed_up = e.code }
try {
  oauth.validateAuthResponse(as, app, await open(authorization({ code_challenge_method: 'plain', code_challenge: verifier })), state)
  out.downgrade = 'accepted'
} catch (e) { out.downgrade = e.error }

// a service
const service = { client_id: given.service.id }
const secret = oauth.ClientSecretBasic(given.service.secret)
const own = await oauth.processClientCredentialsResponse(as, service, await oauth.clientCredentialsGrantRequest(
  as, service, secret, new URLSearchParams({ scope: 'files.*:read' }), plain))
out.service = (await whoami(own.access_token)).kind
const asked = async () => oauth.processIntrospectionResponse(
  as, service, await oauth.introspectionRequest(as, service, secret, own.access_token, plain))
out.active = (await asked()).active
await oauth.processRevocationResponse(await oauth.revocationRequest(as, service, secret, own.access_token, plain))
out.revoked = (await asked()).active
const wrong = oauth.ClientSecretPost('sac_' + 'x'.repeat(40))
out.wrong_secret = await error((async () => oauth.processClientCredentialsResponse(as, service,
  await oauth.clientCredentialsGrantRequest(as, service, wrong, new URLSearchParams(), plain)))())

console.log(JSON.stringify(out))
