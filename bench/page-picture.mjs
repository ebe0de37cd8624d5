// A picture of the server's page: node bench/page-picture.mjs URL PNG [CHROMIUM]
//
// Opens the page of a running `eellm serve` in Chromium, lets it write its example and time both sides,
// opens a token, and saves what is to be seen at 1280 x 900, light. Wants playwright-core from npm. On a busy
// machine the page gives no verdict about speed; the picture then says so too.
import {chromium} from "playwright-core";

const [url, png, executablePath = "/usr/bin/chromium"] = process.argv.slice(2);
if (!png) {
  throw new Error("say where the page is and where the picture goes: node bench/page-picture.mjs http://127.0.0.1:8080 page.png");
}
const browser = await chromium.launch({executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]});
try {
  const page = await browser.newPage({viewport: {width: 1280, height: 900}, colorScheme: "light"});
  const done = () => page.waitForFunction(() => /^done/.test(document.querySelector("#message").textContent));
  await page.goto(url);
  await done();
  await page.click("#go");
  await done();
  const early = page.locator("#pane-a .token:not(.final)");
  await early.nth(Math.floor((await early.count()) / 2)).click();
  await page.mouse.move(0, 0);
  await page.screenshot({path: png});
} finally {
  await browser.close();
}
