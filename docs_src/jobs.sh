export PATH="$PWD/.venv/bin:$PATH"

# start a command and go on at once; the answer names its job
job=$(superagent shell start --command "for n in 1 2 3; do echo step \$n; sleep 0.2; done" --name count --json |
  sed 's/.*"invocation": *"\([^"]*\)".*/\1/')

# what it writes, as it does, until it ends
superagent logs "$job" --follow

# how it stands, and all jobs that you may see
superagent jobs status "$job"
superagent jobs list --state done --state running

# the same once more, as a new job
superagent jobs retry "$job"

# any operation in the background; the job is the invocation
superagent files list . --async

# every working day at half past two in the night, Berlin time; each run has the rights you have then
superagent jobs schedule shell.run --input '{"command": "date >> nightly.txt"}' \
  --cron "30 2 * * mon-fri" --timezone Europe/Berlin --name nightly
superagent jobs schedules
