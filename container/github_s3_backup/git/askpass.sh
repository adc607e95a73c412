#!/bin/sh
# git calls this with a prompt and reads the answer. The token comes through a pipe that only this
# run's children inherit, so it is in no argument, no environment and no file; and it is given for the
# configured server only, whatever else git may be led to ask for.
case "$1" in
"Username for '$ASKPASS_SERVER'"*)
  echo x-access-token
  ;;
"Password for '$ASKPASS_LOGIN'"*)
  IFS= read -r token < "/dev/fd/$ASKPASS_FD" && printf '%s\n' "$token"
  ;;
*)
  echo "askpass: refusing to answer: $1" >&2
  exit 1
  ;;
esac
