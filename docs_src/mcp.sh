export PATH="$PWD/.venv/bin:$PATH"

# a key for this agent and nobody else; what it may do is what its grants say (a name is taken once)
superagent keys create "helper-$(date +%s)" --json | sed 's/.*"key": *"\([^"]*\)".*/\1/' > helper.key
chmod 600 helper.key

# what an agent's program starts by itself: MCP on standard input and output
printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
  "capabilities":{},"clientInfo":{"name":"by-hand","version":"1"}}}' | tr -d '\n' |
  superagent --api-key-file helper.key mcp --toolsets files
rm helper.key
