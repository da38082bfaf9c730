#!/bin/sh
# The part of systemd that slmd's package speaks to: starts and stops the daemon as the unit does.
pid=/run/slmd.pid
alive() { [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }

echo "$*" >>/run/systemctl.log
case " $* " in
  *' is-enabled '*) exit 0 ;;
  *' is-active '*) alive ;;
  *' stop '*)
    alive || exit 0
    kill -TERM "$(cat "$pid")"
    while alive; do sleep 0.1; done
    ;;
  *' start '*slmd.service*)
    alive && exit 0
    mkdir -p /var/lib/slmd
    STATE_DIRECTORY=/var/lib/slmd CACHE_DIRECTORY=/var/cache/slmd setsid /usr/bin/slmd run </dev/null >>/run/slmd.log 2>&1 &
    echo $! >"$pid"
    ;;
esac
