export PATH="$PWD/.venv/bin:$PATH"

# a few lines, contained, by the interpreter that is there; the answer says which one, and why
superagent code run --language python --content "print(sum(range(10)))" --json

# a small project in your own workspace
superagent files write sums.py --content "def add(a, b): return a+b" >/dev/null
superagent files write test_sums.py --content "import unittest, sums

class Sums(unittest.TestCase):
    def test_add(self): self.assertEqual(sums.add(1, 2), 3)
    def test_wrong(self): self.assertEqual(sums.add(1, 2), 4)
" >/dev/null

# each test with its status, place, time and message; it ends with 1, since one fails
superagent code test test_sums.py --json || echo "not to be deployed" >&2

# what it defines, who calls it, which tests name it
superagent code explain sums.py --json
