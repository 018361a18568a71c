// The suite `authorization` of @modelcontextprotocol/conformance: whoever would open a browser is the test.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

const given = JSON.parse(readFileSync(0, 'utf8'))
const suite = 'node_modules/@modelcontextprotocol/conformance/dist/index.js'
const child = spawn(process.execPath, [suite, 'authorization', '--url', given.issuer, '--client-id', given.client,
  '--resource', given.resource, '-p', given.port], { stdio: ['ignore', 'pipe', 'inherit'] })

let text = ''
let pressed = false
child.stdout.on('data', async (data) => {
  text += data
  const asked = /http:\/\/\S+\/oauth\/authorize\?\S+(?=\s)/.exec(text)
  if (!pressed && asked && text.includes('Callback server started')) {
    pressed = true
    const answer = await fetch(given.browser, { method: 'POST', body: asked[0] })
    await fetch(await answer.text())
  }
})
child.on('exit', (code) => {
  const total = /Total: (\d+) passed, (\d+) failed/.exec(text)
  console.log(JSON.stringify({ code, passed: Number(total?.[1] ?? 0), failed: Number(total?.[2] ?? -1), text }))
})
