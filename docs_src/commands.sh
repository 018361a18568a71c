export PATH="$PWD/.venv/bin:$PATH"

# what contains commands on this machine, and what is missing
superagent doctor

# the same tried anew, part by part: what a command must not reach, and which limits hold
superagent sandbox self-test

# a command line in your own workspace: no network, nothing of this server, limits on everything
superagent shell run "echo hello > greeting.txt; id; cat /etc/shadow || true"

# a program without a shell, and how well it was contained
superagent shell exec --json -- cat greeting.txt

# what a line would do by its text: programs, files, hosts, risk; nothing is run
superagent shell explain "sort names.txt | uniq > unique.txt"

# what it really does, rehearsed on a view that you can then accept; the workspace stays as it is
superagent shell run "echo one more >> greeting.txt" --dry-run

# done, and taken back
superagent shell run "rm greeting.txt" --session try
superagent undo --session try

# a script by its interpreter
superagent shell script python --content "print(6 * 7)"
