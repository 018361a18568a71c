// A session by the official TypeScript client: look, write, read, ask its user, take back; in one revision, by one transport.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const given = JSON.parse(Buffer.concat(chunks).toString());

const client = new Client(
  { name: "session", version: "1" },
  {
    capabilities: { elicitation: { form: {} } },
    versionNegotiation: { mode: given.revision === "2026-07-28" ? { pin: given.revision } : "legacy" },
  },
);
const asked = [];
client.setRequestHandler("elicitation/create", async (request) => {
  asked.push(request.params.message);
  return { action: "accept", content: { name: "Alice" } };
});
const transport = given.command
  ? new StdioClientTransport({ command: given.command[0], args: given.command.slice(1), env: given.env })
  : new StreamableHTTPClientTransport(new URL(given.url), {
      requestInit: { headers: { Authorization: `Bearer ${given.key}` } },
    });
await client.connect(transport);

const call = (name, args = {}) => client.callTool({ name, arguments: args });
const tools = [];
let cursor;
do {
  const page = await client.listTools(cursor ? { cursor } : {});
  tools.push(...page.tools.map((tool) => tool.name));
  cursor = page.nextCursor;
} while (cursor);
const wrote = await call("files_write", { path: given.path, content: "grüße\n" });
const read = await call("files_read", { path: given.path });
const greeted = given.asks ? await call(given.asks) : null;
const back = await call("undo_apply", { ids: [wrote.structuredContent.invocation] });
const gone = await call("files_read", { path: given.path });
const described = await client.readResource({ uri: "op://files.read" });
const prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
const who = await call("access_whoami");
await client.close();

console.log(
  JSON.stringify({
    tools,
    read: read.structuredContent.output.content,
    greeted: greeted && greeted.content[0].text,
    asked,
    undone: !back.isError,
    gone: gone.isError,
    described: JSON.parse(described.contents[0].text).name,
    prompts,
    who: who.structuredContent.output.id,
  }),
);
