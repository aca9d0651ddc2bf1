#!/bin/sh
# Says very much, then why, and fails.
i=0
while [ $i -lt 2000 ]; do
  echo "line $i of very many" >&2
  i=$((i + 1))
done
echo "the last line: $*" >&2
exit 7
