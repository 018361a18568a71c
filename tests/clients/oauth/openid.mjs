// openid-client as an independent client: device flow and authorization code, `node openid.mjs ISSUER` as client.mjs.
import * as client from 'openid-client'
import { readFileSync } from 'node:fs'

const given = JSON.parse(readFileSync(0, 'utf8'))
const how = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
const config = await client.discovery(new URL(process.argv[2]), given.app, undefined, client.None(), how)
const out = { issuer: config.serverMetadata().issuer }

const press = async (what) => (await fetch(given.browser, { method: 'POST', body: what })).text()

// device flow (RFC 8628): the person decides while the device polls
const codes = await client.initiateDeviceAuthorization(config, { scope: 'files.*:read' })
out.device_page = codes.verification_uri
await press(codes.user_code)
const device = await client.pollDeviceAuthorizationGrant(config, codes)
out.device = device.scope

// authorization code with PKCE
const verifier = client.randomPKCECodeVerifier()
const state = client.randomState()
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: given.back, scope: 'files.*', state, code_challenge_method: 'S256',
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
})
const back = new URL(await press(url.href))
const tokens = await client.authorizationCodeGrant(config, back, { pkceCodeVerifier: verifier, expectedState: state })
out.code = tokens.scope
const fetched = await client.fetchProtectedResource(
  config, tokens.access_token, new URL(given.whoami), 'POST', '{}', new Headers({ 'content-type': 'application/json' }))
out.whoami = (await fetched.json()).output
const narrower = await client.refreshTokenGrant(config, tokens.refresh_token, { scope: 'files.*:read' })
out.narrower = narrower.scope
try {
  await client.refreshTokenGrant(config, narrower.refresh_token, { scope: 'files.* shell.*' })
  out.wider = 'accepted'
} catch (e) { out.wider = e.error }
await client.tokenRevocation(config, narrower.refresh_token)
try {
  await client.refreshTokenGrant(config, narrower.refresh_token)
  out.revoked = 'accepted'
} catch (e) { out.revoked = e.error }

console.log(JSON.stringify(out))
