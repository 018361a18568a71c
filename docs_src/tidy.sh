superagent files write list.txt --content $'pears\napples\n'
superagent tidy sort list.txt --dry-run
superagent tidy sort list.txt --session tidy
superagent files read list.txt
superagent undo --session tidy
