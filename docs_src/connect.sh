export PATH="$PWD/.venv/bin:$PATH"

# what would be written, and that a key would be made; nothing is changed
mkdir -p ~/.cursor
superagent connect cursor --toolsets files,shell --dry-run

# do it; the key lies in a file of its own, and the configuration names that file
superagent connect cursor --toolsets files,shell
cat ~/.cursor/mcp.json

# take the entry out again, and end the key
superagent connect cursor --remove

# operations as tools for the API of a provider, to be called by `POST /v1/operations/NAME`
superagent describe files.read files.write --for openai
