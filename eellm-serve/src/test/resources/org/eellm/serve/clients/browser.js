// Uses the page as a person would, in Chromium; prints what is to be seen as JSON.
// Screenshots go to a folder, if one is named.
import { chromium } from 'playwright-core';

const [base, executablePath, prompt, tokens, threshold, folder] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const seen = { errors: [] };

async function open(options) {
  const page = await browser.newPage(options);
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('console', message => message.type() === 'error' && seen.errors.push(message.text()));
  await page.goto(`${base}/`);
  await page.waitForSelector('#legend li');
  return page;
}

const pane = (page, name) => page.$eval(`#${name}`, box => ({
  text: box.querySelector('.text').textContent,
  tokens: box.querySelectorAll('.text .token').length,
  colours: new Set([...box.querySelectorAll('.text .token')].map(token => getComputedStyle(token).borderBottomColor)).size,
  histogram: box.querySelector('.histogram').getAttribute('aria-label'),
  bars: [...box.querySelectorAll('.histogram .bar')].map(bar => bar.style.width),
  figures: [...box.querySelectorAll('.figures dt')].map(term => term.textContent),
}));

const wide = page => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
const shot = (page, name) => folder && page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

async function fill(page, sure) {
  await page.fill('#prompt', prompt);
  await page.fill('#tokens', tokens);
  await page.$eval('#threshold', (slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event('input'));
  }, sure);
}

const whole = page => page.waitForFunction(() => document.querySelector('#verdict').textContent, null, { timeout: 60000 });

const page = await open({ viewport: { width: 1200, height: 900 }, colorScheme: 'light' });
seen.about = await page.textContent('#about');
seen.legend = await page.$$eval('#legend li', items => items.map(item => item.textContent));
await fill(page, threshold);
await page.click('#go');
await whole(page);
seen.early = await pane(page, 'early');
seen.full = await pane(page, 'full');
seen.verdict = await page.textContent('#verdict');
await page.hover('#early .token >> nth=2');
seen.tip = await page.textContent('#tip');
seen.alternatives = await page.$$eval('#tip tr', rows => rows.length);
await shot(page, 'desktop-light');
await page.mouse.move(1, 1);
seen.tipGone = await page.isHidden('#tip');

// The keyboard walks from token to token.
await page.focus('#early .token >> nth=0');
await page.keyboard.press('ArrowRight');
seen.walked = await page.evaluate(() => document.activeElement.previousElementSibling?.classList.contains('token'));
await page.keyboard.press('Escape');

// Another threshold writes anew at once: 0 lets every token leave at the first exit.
await page.$eval('#threshold', slider => {
  slider.value = 0;
  slider.dispatchEvent(new Event('input'));
  slider.dispatchEvent(new Event('change'));
});
await page.waitForFunction(() => !document.querySelector('#verdict').textContent);
await whole(page);
seen.shallow = await pane(page, 'early');

// The server's own settings in place of the page's threshold write anew, too.
await page.check('#own');
await page.waitForFunction(() => !document.querySelector('#verdict').textContent);
await whole(page);
seen.own = await pane(page, 'early');
seen.thresholdRests = await page.isDisabled('#threshold');
await page.uncheck('#own');
await page.waitForFunction(() => !document.querySelector('#verdict').textContent);
await whole(page);

// A wrong value is told in the server's words.
await page.$eval('#tokens', field => field.removeAttribute('max'));
await page.fill('#tokens', '4000');
await page.click('#go');
await page.waitForSelector('#message.wrong');
seen.refusal = await page.textContent('#message');

// Stop frees the server; the page stays usable.
await page.fill('#tokens', tokens);
await page.click('#go');
await page.waitForSelector('#early .token');
await page.click('#stop', { timeout: 1000 }).catch(() => {});
await page.waitForFunction(() => !document.querySelector('#go').disabled);
seen.wideDesktop = await wide(page);

for (const scheme of ['light', 'dark']) {
  const phone = await open({ viewport: { width: 375, height: 740 }, colorScheme: scheme, isMobile: true, hasTouch: true });
  await fill(phone, threshold);
  await phone.tap('#go');
  await whole(phone);
  await phone.tap('#early .token >> nth=3');
  seen[`phone-${scheme}`] = { wide: await wide(phone), tip: await phone.isVisible('#tip'), tokens: (await pane(phone, 'early')).tokens };
  await shot(phone, `phone-${scheme}`);
}
const dark = await open({ viewport: { width: 1200, height: 900 }, colorScheme: 'dark' });
await fill(dark, threshold);
await dark.click('#go');
await whole(dark);
await shot(dark, 'desktop-dark');

await browser.close();
console.log(JSON.stringify(seen));
