"""What a person does in a browser: opens the page that `kindred login` names, enters the code, signs in and agrees.

    python3 browser.py URL CODE NAME
"""

import html
import http.cookiejar
import re
import sys
import urllib.parse
import urllib.request


def main(url: str, code: str, name: str) -> None:
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page, here = read(browser.open(url, timeout=20))
    # The code, that it is the right one, the name, and what the program may do.
    for _ in range(8):
        form = re.search(r"<form[^>]*>.*?</form>", page, re.S)
        if form is None:
            print(re.sub(r"<style.*?</style>|<[^>]+>|\s+", " ", page, flags=re.S).split("  ")[0].strip() or "done")
            return
        action = re.search(r'action="([^"]*)"', form[0])
        fields = {}
        for field in re.findall(r"<input[^>]*>", form[0]):
            key = re.search(r'name="([^"]*)"', field)
            value = re.search(r'value="([^"]*)"', field)
            if key:
                fields[key[1]] = html.unescape(value[1]) if value else ""
        for key, value in {"user_code": code, "login": name, "password": "any"}.items():
            if key in fields:
                fields[key] = value
        target = urllib.parse.urljoin(here, html.unescape(action[1]) if action else "")
        page, here = read(browser.open(target, urllib.parse.urlencode(fields).encode(), timeout=20))
    raise SystemExit(f"the pages do not end: {here}")


def read(answer) -> tuple[str, str]:
    return answer.read().decode(), answer.geturl()


if __name__ == "__main__":
    main(*sys.argv[1:])
