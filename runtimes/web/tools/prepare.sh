#!/bin/sh
# Makes ready what the page is tested in: Chromium, unless CHROME_PATH names one, and WebKit with its driver, of Debian or
# Ubuntu. Nothing is downloaded when all is there.
set -eu

missing=
need() { # a program, and its package
    command -v "$1" >/dev/null || missing="$missing $2"
}
[ -n "${CHROME_PATH:-}" ] || need chromium chromium
need WebKitWebDriver webkit2gtk-driver
need Xvfb xvfb
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "the tests of the page need more packages: sudo apt-get install$missing" >&2
    exit 1
fi
apt-get update -qq
# shellcheck disable=SC2086  # a list
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
