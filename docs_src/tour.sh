export PATH="$PWD/.venv/bin:$PATH"

# look first: a dry run shows the exact change and does nothing
superagent files write hello.txt --content "Hello, agents" --dry-run

# do it, change it, read it
superagent files write hello.txt --content "Hello, agents" --session tour
superagent files edit hello.txt agents world --session tour
superagent files read hello.txt

# take the whole session back, then prove that nobody rewrote the record of it
superagent undo --session tour
superagent audit query --text hello.txt --limit 3
superagent audit verify
