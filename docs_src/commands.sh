export PATH="$PWD/.venv/bin:$PATH"

# what contains commands on this machine, and what is missing
superagent doctor

# a command line in your own workspace: no network, nothing of this server, limits on everything
superagent shell run "echo hello > greeting.txt; id; cat /etc/shadow || true"

# a program without a shell, and how well it was contained
superagent shell exec --argv cat --argv greeting.txt --json
