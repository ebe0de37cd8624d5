// Uses the page as a person would, in Chromium, one scenario a run; prints what is to be seen as
// JSON. Screenshots go to a folder, if one is named.
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, request as ask } from 'node:http';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { chromium } from 'playwright-core';

const [base, executablePath, scenario, link, folder] = process.argv.slice(2);
const PROMPT = 'the cat and';
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const seen = { errors: [] };

async function open(options = {}, hash = link || `prompt=${encodeURIComponent(PROMPT)}&tokens=20&a.threshold=0.02&b.mode=full`, at = base) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.setDefaultTimeout(120000); // a busy machine keeps the browser waiting as well
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('console', message => message.type() === 'error' && seen.errors.push(message.text()));
  page.on('request', request => {
    if (!request.url().startsWith(at) && !request.url().startsWith('blob:')) {
      seen.errors.push(`asked ${request.url()}`);
    }
  });
  await page.goto(`${at}/#${hash}`);
  return page;
}

const known = page => page.waitForSelector('#legend li');
const message = page => page.textContent('#message');
const done = page => page.waitForFunction(() => /^done/.test(document.querySelector('#message').textContent), null, { timeout: 120000 }); // twice what a burden takes
const failed = page => page.waitForSelector('#message.wrong', { timeout: 60000 });
const shot = (page, name) => folder && page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

/** Moves the left threshold as a person does: some moves, then the end of them. */
const move = (page, value) => page.$eval('#threshold', (slider, to) => {
  slider.value = to;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  slider.dispatchEvent(new Event('change', { bubbles: true }));
}, value);

const pane = (page, name) => page.$eval(`#pane-${name}`, box => ({
  title: box.querySelector('h2').textContent,
  made: box.querySelector('.made').textContent,
  text: box.querySelector('.text').textContent,
  end: box.querySelector('.end').textContent,
  tokens: box.querySelectorAll('.text .token').length,
  invisible: [...box.querySelectorAll('.text .token')].filter(token => token.textContent === '' && !token.dataset.shown).length,
  spoken: box.querySelector('.text .token')?.getAttribute('aria-label') ?? '',
  marks: new Set([...box.querySelectorAll('.text .token')].map(token => getComputedStyle(token).boxShadow)).size,
  counts: [...box.querySelectorAll('.histogram .count')].map(count => count.textContent.split(' ')[0]),
  figures: [...box.querySelectorAll('.figures dt')].map(term => term.textContent),
  drawings: box.querySelectorAll('.course svg').length,
}));

/** Keeps all processors busy, for a minute at most; ends with what it returns. */
function burden() {
  const spins = Array.from({ length: 3 * availableParallelism() }, () =>
    new Worker('const end = Date.now() + 60000; while (Date.now() < end);', { eval: true }));
  return () => Promise.all(spins.map(spin => spin.terminate()));
}

const post = async (path, body) => (await fetch(`${base}${path}`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
})).json();

/** The heads at which a pane's text is coloured. */
const colours = (page, name) => page.$$eval(`#pane-${name} .token`, tokens => tokens.map(token => token.head));

/** What is open beside the text. */
const opened = page => page.$eval('#token', pane => (pane.hidden ? null : {
  title: pane.querySelector('h2').textContent,
  facts: pane.querySelector('dl').textContent,
  heads: [...pane.querySelectorAll('tbody th')].map(head => head.textContent),
  choices: [...pane.querySelectorAll('tbody td')].map(cell => cell.querySelectorAll('.choice').length),
}));

/** The heads at which the lens frames tokens. */
const frames = page => page.$$eval('#lens-box tbody tr', rows => rows.map(row => row.querySelectorAll('td.leaves').length));

const scenarios = {
  /** Pages of other sites: one whose name comes to mean this machine after it was loaded, and one of another port. */
  async foreign() {
    const { port } = new URL(base);
    const away = await chromium.launch({ executablePath, args: ['--no-sandbox', '--host-resolver-rules=MAP rebound.example 127.0.0.1',
      '--disable-features=LocalNetworkAccessChecks'] }); // new browsers guard loopback themselves; older ones do not
    const generated = async () => (await (await fetch(`${base}/metrics`)).text())
      .split('\n').filter(line => line.startsWith('eellm_generated_tokens_total')).join();
    seen.own = (await fetch(`${base}/v1/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ prompt: PROMPT, max_tokens: 1 }),
    })).status;
    seen.before = await generated();
    const visit = async (origin, script, argument) => {
      const page = await away.newPage();
      await page.route(`${origin}/attack`, route => route.fulfill({ contentType: 'text/html', body: '<p>attack' }));
      await page.goto(`${origin}/attack`);
      return page.evaluate(script, argument);
    };
    const attack = async target => {
      const body = JSON.stringify({ prompt: 'the cat', max_tokens: 2 });
      const seen = [];
      for (const [path, options] of [
        ['/v1/models', {}],
        ['/metrics', {}],
        ['/v1/completions', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }],
        ['/v1/completions', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body }],
        ['/v1/completions', { method: 'POST', mode: 'no-cors', body }],
      ]) {
        try {
          const answer = await fetch(target + path, options);
          seen.push(`${answer.status} ${(await answer.text()).includes('not_allowed') ? 'refused' : ''}`.trim());
        } catch {
          seen.push('kept from the page');
        }
      }
      return seen;
    };
    seen.rebound = await visit(`http://rebound.example:${port}`, attack, '');
    seen.others = await visit('http://rebound.example:1', attack, base);
    seen.after = await generated();
    await away.close();
  },

  async writes() {
    const page = await open();
    await known(page);
    seen.about = await page.textContent('#about');
    seen.legend = await page.$$eval('#legend li', items => items.map(item => item.textContent));
    await page.waitForFunction(() => document.querySelector('#count').textContent);
    seen.count = await page.textContent('#count');
    seen.mostTokens = await page.$eval('#tokens', field => field.max);
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    seen.b = await pane(page, 'b');
    seen.verdict = await page.textContent('#verdict');
    seen.agreement = await page.textContent('#agreement');
    await page.selectOption('#lens-of', 'a');
    seen.frames = await frames(page);
    seen.cells = await page.$$eval('#lens-box td', cells => cells.length);
    await shot(page, 'desktop-light');

    // The same figure, reckoned from what the server says of the full model's text.
    const ids = await page.$$eval('#pane-b .token', tokens => tokens.map(each => each.token.id));
    const lens = await (await fetch(`${base}/v1/lens`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ prompt: PROMPT, continuation: ids, top: 1 }),
    })).json();
    seen.agree = lens.tokens.filter(({ heads }) => {
      const left = heads.slice(0, -1).find(head => head.confidence >= .02) ?? heads.at(-1);
      return left.top[0].id === heads.at(-1).top[0].id;
    }).length;

    // The slider frames anew from what is known, before anything is asked.
    const asked = [];
    page.on('request', request => asked.push(request.url()));
    await page.$eval('#threshold', slider => {
      slider.value = 0;
      slider.dispatchEvent(new Event('input', { bubbles: true }));
    });
    seen.framesAtOnce = await frames(page);
    seen.estimate = await page.textContent('#estimate');
    seen.askedMeanwhile = asked.filter(url => url.includes('/v1/')).length;

    await page.hover('#pane-a .token >> nth=2');
    seen.tip = await page.textContent('#tip');
    seen.tipAsSeen = await page.innerText('#tip'); // without blanks that collapse
    await page.focus('#pane-a .token >> nth=0');
    await page.setViewportSize({ width: 700, height: 900 });
    await page.waitForFunction(() => document.documentElement.clientWidth <= 700);
    await page.waitForFunction(() => { // it goes with its token
      const box = document.querySelector('#tip').getBoundingClientRect();
      const token = document.querySelector('.token:focus').getClientRects()[0];
      return Math.min(Math.abs(box.top - token.bottom), Math.abs(box.bottom - token.top)) < 12;
    });
    await page.focus('#go');
    seen.tipGone = await page.isHidden('#tip');
    await page.click('#pane-a .token >> nth=2');
    seen.opened = await opened(page);

    // What is saved is whole.
    const [json] = await Promise.all([page.waitForEvent('download'), page.click('#save-json')]);
    const saved = JSON.parse(await readFile(await json.path(), 'utf8'));
    seen.savedTokens = saved.left.tokens.length;
    seen.savedThreshold = saved.left.settings.a.threshold;
    const [svg] = await Promise.all([page.waitForEvent('download'), page.click('#save-svg')]);
    const picture = await readFile(await svg.path(), 'utf8');
    if (folder) {
      await svg.saveAs(`${folder}/picture.svg`);
    }
    seen.picture = await page.evaluate(text => {
      const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
      return { broken: parsed.querySelector('parsererror') !== null, texts: parsed.querySelectorAll('text').length, styled: text.includes('style=') };
    }, picture);
  },

  /** The page as it opens, without a word of what to write. */
  async opens() {
    const page = await open({}, '');
    await done(page);
    seen.a = await pane(page, 'a');
    seen.b = await pane(page, 'b');
    seen.prompt = await page.$eval('#prompt', field => field.value);
    seen.examples = await page.$$eval('#examples button', buttons => buttons.map(button => button.title));
    seen.verdict = await page.textContent('#verdict');
    seen.agreement = await page.textContent('#agreement');
    seen.estimate = await page.textContent('#estimate');
    seen.address = await page.evaluate(() => location.hash);
    seen.what = await page.isVisible('#what');
    seen.marks = await page.$$eval('#marks span[data-of]', spans => spans.filter(span => !span.hidden).map(span => span.dataset.of));
    // Results stand beside the controls.
    seen.top = await page.$eval('#panes', box => Math.round(box.getBoundingClientRect().top));
    await shot(page, 'opens');
    await page.evaluate(() => {
      globalThis.said = [];
      new MutationObserver(() => globalThis.said.push(document.querySelector('#message').textContent))
        .observe(document.querySelector('#message'), { childList: true });
    });
    await page.click('#go');
    await done(page);
    seen.said = await page.evaluate(() => globalThis.said);
    seen.timed = await page.textContent('#verdict');
    seen.figures = (await pane(page, 'b')).figures;
    await page.click('#examples button >> nth=1');
    await done(page);
    seen.second = (await pane(page, 'b')).text;
  },

  /** A server that goes away amid a text. */
  async dies() {
    const { hostname, port } = new URL(base);
    let breaks = false;
    const between = createServer((from, to) => {
      from.pipe(ask({ hostname, port, path: from.url, method: from.method, headers: { ...from.headers, host: `${hostname}:${port}`, origin: base } }, answer => {
        to.writeHead(answer.statusCode, answer.headers);
        if (!breaks || from.url !== '/v1/completions') {
          answer.pipe(to);
          return;
        }
        let sent = 0;
        answer.on('data', bytes => {
          to.write(bytes.subarray(0, Math.max(0, 2000 - sent)));
          sent += bytes.length;
          if (sent > 2000) {
            setTimeout(() => to.destroy(), 100);
          }
        });
      }));
    });
    await new Promise(resolve => { between.listen(0, '127.0.0.1', resolve); });
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=60&compare=false&a.mode=full`, `http://127.0.0.1:${between.address().port}`);
    await done(page);
    breaks = true;
    await page.click('#go');
    await failed(page);
    seen.message = await message(page);
    seen.a = await pane(page, 'a');
    breaks = false;
    await page.click('#go');
    await done(page);
    seen.again = await pane(page, 'a');
    between.closeAllConnections();
    between.close();
    seen.errors = seen.errors.filter(error => !error.includes('ERR_INCOMPLETE_CHUNKED_ENCODING'));
  },

  /** A link, which is written at once; Escape stops; and a curve with an outlier and two points in one place. */
  async stops() {
    const page = await open();
    await done(page);
    seen.linked = (await pane(page, 'b')).text;
    let release;
    const held = new Promise(resolve => { release = resolve; });
    await page.route('**/v1/completions', async route => {
      await held;
      await route.continue().catch(() => {}); // given up by then
    });
    await page.click('#go');
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelector('#stop').getAttribute('aria-disabled') === 'true');
    seen.message = await message(page);
    release();
    seen.curve = await page.evaluate(async () => {
      const { curve } = await import('./charts.js');
      const point = (label, agreement, ratio, most = ratio) => ({ label, agreement, ratio, least: ratio, most });
      const svg = curve([point('1', 1, 1), point('0.9', .99, 1.2, 8), point('0.8', .99, 1.21), point('0.5', .9, 1.5)], 600, 'the full model');
      document.body.append(svg);
      const at = dot => dot.cx.baseVal.value;
      const dots = [...svg.querySelectorAll('.dot')].map(at);
      const axis = [...svg.querySelectorAll('text[text-anchor=end]')].map(text => Number(text.textContent)).filter(Number.isFinite);
      return { highest: Math.max(...axis.slice(0, -1)), cut: svg.querySelectorAll('.cut').length,
        labels: [...svg.querySelectorAll('.threshold')].map(text => text.textContent), used: (Math.max(...dots) - Math.min(...dots)) / 600,
        titles: svg.querySelectorAll('title').length };
    });
  },

  /** The policy that needs one exit. */
  async fixed() {
    const page = await open();
    await done(page);
    const asked = [];
    page.on('response', response => asked.push(response.status()));
    await page.selectOption('#policy', 'fixed');
    await failed(page);
    seen.message = await message(page);
    seen.exits = await page.isVisible('#exit-2');
    seen.blamed = await page.$$eval('[aria-invalid]', fields => fields.map(field => field.id));
    seen.refusals = asked.filter(status => status >= 400);
    await page.uncheck('#exit-1');
    await page.uncheck('#exit-4');
    await done(page);
    seen.counts = (await pane(page, 'a')).counts;
  },

  /** A token that is opened where it stands. */
  async token() {
    for (const [name, viewport] of [['wide', { width: 1280, height: 800 }], ['phone', { width: 390, height: 800 }]]) {
      const page = await open({ viewport }, `prompt=${encodeURIComponent(PROMPT)}&tokens=60&a.threshold=0.02&b.mode=full`);
      await done(page);
      const token = page.locator('#pane-b .token').nth(50);
      await token.scrollIntoViewIfNeeded();
      const before = await page.evaluate(() => scrollY);
      await token.click();
      const one = { scrolled: await page.evaluate(() => scrollY) - before, opened: await opened(page) };
      one.inLens = await page.$eval('#lens-box', box => {
        const [column, room] = [box.querySelector('th.open').getBoundingClientRect(), box.getBoundingClientRect()];
        return column.left >= room.left && column.right <= room.right;
      });
      one.marked = await page.$$eval('#lens-box td.open', cells => cells.map(cell => cell.place));
      one.lensOf = await page.$eval('#lens-of', list => list.value);
      const sheet = await page.$eval('#token', box => box.getBoundingClientRect().toJSON());
      const last = await page.$eval('#token tbody tr:last-child', row => row.getBoundingClientRect().toJSON());
      one.finalHeadSeen = last.left >= 0 && last.right <= viewport.width && sheet.bottom <= viewport.height + 1;
      await shot(page, `token-${name}`);
      await page.keyboard.press('ArrowRight');
      one.walked = (await opened(page)).title;
      await page.click('#token-before');
      await page.click('#token-before');
      one.back = (await opened(page)).title;
      await page.keyboard.press('Escape');
      one.closed = await opened(page);
      one.focus = await page.evaluate(() => [...document.querySelectorAll('#pane-b .token')].indexOf(document.activeElement));
      seen[name] = one;
      await page.close();
    }
  },

  /** The threshold dragged: colours and figures go along, and are those of a text that is written so. */
  async drags() {
    seen.tries = [];
    for (const [policy, from, to] of [['max-probability', .2, .22], ['max-probability', 1, .28], ['margin', .12, .1], ['margin', .06, .05]]) {
      const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=40&a.policy=${policy}&a.threshold=${from}&b.mode=full`);
      await done(page);
      const asked = [];
      page.on('request', request => asked.push(request.url()));
      await move(page, to);
      await page.waitForSelector('#write-so', { state: 'visible' });
      const one = { policy, to, dragged: await colours(page, 'a'), counts: (await pane(page, 'a')).counts, asked: asked.filter(url => url.includes('/v1/')).length };
      one.estimate = await page.textContent('#estimate');
      const ids = () => page.$$eval('#pane-a .token', tokens => tokens.map(each => each.token.id));
      const before = await ids();
      await page.click('#write-so');
      await page.waitForFunction(() => document.querySelector('#write-so').hidden);
      await done(page);
      const after = await ids();
      one.written = await colours(page, 'a');
      one.same = before.findIndex((id, i) => id !== after[i]);
      seen.tries.push(one);
      await page.close();
    }
  },

  /** Twelve settings: what the page shows is what the API says. */
  async twelve() {
    const page = await open();
    await done(page);
    seen.tries = [];
    for (const mode of ['early-exit', 'recompute']) {
      for (const early_exit of [{ policy: 'max-probability', threshold: .1 }, { policy: 'max-probability', threshold: .2 }, { policy: 'margin', threshold: .1 },
        { policy: 'entropy', threshold: 3 }, { policy: 'patience', patience: 2 }, { policy: 'max-probability', threshold: .15, exits: [1, 4] }]) {
        const { policy, threshold, patience, exits } = early_exit;
        const link = new URLSearchParams({ prompt: PROMPT, tokens: 20, compare: false, 'a.mode': mode, 'a.policy': policy,
          ...(threshold ? { 'a.threshold': threshold } : {}), ...(patience ? { 'a.patience': patience } : {}), ...(exits ? { 'a.exits': exits } : {}) });
        await page.goto('about:blank');
        await page.goto(`${base}/#${link}`);
        await done(page);
        const { choices: [{ early_exit: tokens }], metrics } = await post('/v1/completions',
          { prompt: PROMPT, max_tokens: 20, temperature: 0, early_exit: { mode, ...early_exit, per_token: true } });
        const shown = await pane(page, 'a');
        seen.tries.push({
          name: `${mode} ${JSON.stringify(early_exit)}`,
          colours: JSON.stringify(await colours(page, 'a')) === JSON.stringify(tokens.map(token => token.head)),
          counts: JSON.stringify(shown.counts) === JSON.stringify(['exit_1', 'exit_2', 'exit_4', 'final'].map(head => String(metrics.early_exit.histogram[head] ?? 0))),
          depth: (await page.textContent('#pane-a .figures')).includes(`mean depth${metrics.early_exit.mean_layer.toFixed(2)} of 5`),
          left: new Set(tokens.map(token => token.head)).size,
        });
      }
    }
  },

  /** Runs that are kept, named, compared, taken away and brought back. */
  async notebook() {
    const page = await open();
    await done(page);
    await page.click('#go');
    await done(page);
    const rows = () => page.$$eval('#runs tbody tr', all => all.map(row => [...row.cells].map(cell => cell.querySelector('input')?.value ?? cell.textContent)));
    await page.fill('#runs input >> nth=0', 'first, "quoted"');
    await page.press('#runs input >> nth=0', 'Tab');
    seen.focus = await page.evaluate(() => document.activeElement.getAttribute('aria-label'));
    await page.check('#lines');
    await page.fill('#prompt', 'the cat\n\nthe dog');
    await page.waitForFunction(() => document.querySelector('#count').textContent === '2 prompts');
    await page.click('#go');
    await page.waitForFunction(() => /the dog/.test(document.querySelector('#runs tbody').textContent)
      && /^done/.test(document.querySelector('#message').textContent), null, { timeout: 120000 });
    seen.rows = await rows();
    await page.reload();
    await page.waitForSelector('#runs tbody tr');
    seen.afterReload = await rows();
    const save = async button => {
      const [file] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
      return readFile(await file.path(), 'utf8');
    };
    seen.csv = await save('#csv');
    const text = await save('#export');
    seen.exported = JSON.parse(text).runs.length;
    if (await page.$('#notebook-chart svg')) {
      seen.svg = await save('#notebook-svg');
    }
    page.on('dialog', dialog => dialog.accept());
    await page.click('#runs tbody tr >> nth=0 >> text=Delete');
    await page.waitForFunction(count => document.querySelectorAll('#runs tbody tr').length === count, seen.rows.length - 1);
    await page.click('#delete-all');
    await page.waitForFunction(() => document.querySelectorAll('#runs tbody tr').length === 0);
    const file = `${process.cwd()}/notebook-${process.pid}.json`;
    await writeFile(file, text);
    await page.setInputFiles('#import-file', file);
    await page.waitForFunction(count => document.querySelectorAll('#runs tbody tr').length >= count, seen.rows.length);
    seen.imported = (await rows()).filter(row => row[1] === 'first, "quoted"').length;
    await writeFile(file, '{"runs": [{"id": "x"}]}');
    await page.setInputFiles('#import-file', file);
    await failed(page);
    seen.odd = await message(page);
    await page.emulateMedia({ media: 'print' });
    seen.printed = { form: await page.isVisible('#form'), text: await page.isVisible('#pane-a .text'), runs: await page.isVisible('#runs') };
    await shot(page, 'print');
  },

  /** A conversation: it goes on, an earlier turn is asked anew, and the other way is not lost. */
  async chats() {
    const page = await open({}, `prompt=${encodeURIComponent('the cat')}&tokens=8&chat=true&compare=false&a.mode=full`);
    await done(page);
    const bodies = [];
    page.on('request', request => request.url().endsWith('/v1/chat/completions') && bodies.push(JSON.parse(request.postData()).messages));
    await page.fill('#system', 'the end');
    await page.click('#go');
    await done(page);
    const answer = (await pane(page, 'a')).text.replace(/^the cat\n/, '');
    await page.click('#answer-a');
    await page.fill('#prompt', 'the dog');
    await page.click('#go');
    await done(page);
    seen.second = bodies.at(-1);
    seen.answer = answer;
    await page.click('text=Ask this anew');
    seen.prompt = await page.$eval('#prompt', field => field.value);
    await page.fill('#prompt', 'the bird');
    await page.click('#go');
    await done(page);
    seen.third = bodies.at(-1);
    await page.click('#answer-a');
    await page.waitForSelector('text=Or: the cat');
    seen.others = await page.$$eval('#turn-list button', buttons => buttons.map(button => button.textContent).filter(text => text.startsWith('Or: ')));
    await page.click('text=Or: the cat');
    await page.waitForFunction(() => ['the dog', 'the cat'].includes(document.querySelector('#prompt').value));
    seen.branch = await page.$eval('#prompt', field => field.value);
    // Held to a schema.
    await page.fill('#prompt', 'the end');
    await page.click('summary >> text=Sampling');
    await page.fill('#schema', '{"type":');
    await page.click('#go');
    await failed(page);
    seen.wrong = await message(page);
    await page.fill('#schema', '{"enum": [true]}');
    await page.click('#go');
    await done(page);
    seen.held = (await pane(page, 'a')).text;
  },

  async repeats() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=60&a.mode=full&b.mode=full`);
    await done(page);
    seen.verdicts = [];
    seen.texts = [];
    seen.asked = [];
    for (let i = 0; i < 4; i++) {
      let asked = 0;
      const count = request => { asked += request.url().endsWith('/v1/completions'); };
      page.on('request', count);
      await page.click('#go');
      await done(page);
      page.off('request', count);
      seen.asked.push(asked);
      seen.verdicts.push(await page.textContent('#verdict'));
      seen.texts.push((await pane(page, 'a')).text, (await pane(page, 'b')).text);
    }
  },

  async busy() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=80&a.threshold=0.02&b.mode=full`);
    await done(page);
    await known(page);

    // Somebody else's text, once, while turns are taken.
    let asked = 0;
    await page.route('**/v1/completions', async route => {
      if (++asked === 12) {
        const body = JSON.parse(route.request().postData());
        await fetch(route.request().url(), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      }
      await route.continue();
    });
    await page.click('#go');
    await done(page);
    seen.others = await page.textContent('#verdict');
    await page.unroute('**/v1/completions');

    await page.click('#go'); // while the browser, too, has a processor
    const release = burden();
    await done(page);
    await release();
    seen.verdict = await page.textContent('#verdict');
  },

  async drafts() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=24&a.mode=speculative&a.draftExit=2&a.draftLength=3&a.draftConfidence=0&b.mode=full`);
    await known(page);
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    await page.selectOption('#lens-of', 'a');
    seen.held = await page.$$eval('#lens-box tr.drafts td.held', cells => cells.length);
    seen.off = await page.$$eval('#lens-box tr.drafts td.off', cells => cells.map(cell => cell.getAttribute('aria-label')));
    seen.drafted = await page.$$eval('#pane-a .token.drafted', tokens => tokens.length);
    await page.focus('#pane-a .token.refused');
    seen.tip = await page.textContent('#tip');
    seen.mode = await page.$eval('#mode', list => list.value);
  },

  async restarts() {
    const page = await open();
    await known(page);
    let release;
    let held = new Promise(resolve => { release = resolve; });
    let holding = true;
    await page.route('**/v1/completions', async route => {
      if (holding) {
        await held;
      }
      await route.continue().catch(() => {}); // given up by then
    });
    await page.click('#go');
    await page.waitForFunction(() => /left/.test(document.querySelector('#message').textContent));
    holding = false;
    seen.meanwhile = await pane(page, 'b');
    await move(page, 0); // while the run goes on
    release();
    await done(page);
    seen.moved = await pane(page, 'a');
    seen.address = await page.evaluate(() => location.hash);

    // The comparison switched off and on shows nothing of another run.
    await page.uncheck('#compare');
    await page.click('#go');
    await done(page);
    await page.check('#compare');
    seen.afterSwitch = await pane(page, 'b');
    seen.verdictAfterSwitch = await page.textContent('#verdict');

    // A reload keeps settings and texts.
    await page.click('#go');
    await done(page);
    const before = await pane(page, 'a');
    await page.reload();
    await page.waitForSelector('#pane-a .token');
    const after = await pane(page, 'a');
    seen.kept = before.text === after.text && before.made === after.made;
    seen.runs = await page.$$eval('#runs tbody tr', items => items.length);

    // A pinned run stays on the right, and speed is not compared with it.
    await page.click('#runs tbody tr >> nth=0 >> text=Pin');
    await page.selectOption('#mode', 'full');
    await done(page);
    await page.waitForFunction(() => document.querySelector('#verdict').textContent);
    seen.pinned = { a: (await pane(page, 'a')).title, b: (await pane(page, 'b')).title, verdict: await page.textContent('#verdict') };
  },

  async refuses() {
    const page = await open();
    await known(page);
    await page.click('#go');
    await done(page);

    // Fields say what is wrong with them.
    await page.fill('#temperature', '');
    await page.click('#go');
    await failed(page);
    seen.empty = await message(page);
    await page.fill('#temperature', '0.75');
    await page.click('summary >> text=Sampling');
    await page.fill('#seed', '5');
    await page.click('#go');
    await done(page);
    seen.drawn = (await pane(page, 'a')).made;

    // A refusal leaves nothing of what was there before, and takes no more than its words.
    await page.fill('#prompt', 'the cat '.repeat(2000));
    await page.click('#go');
    await failed(page);
    seen.refusal = await message(page);
    seen.refused = { a: await pane(page, 'a'), b: await pane(page, 'b'), verdict: await page.textContent('#verdict') };
    seen.refusedHeight = await page.$eval('#panes', box => box.offsetHeight);

    // Nobody there, in plain words.
    await page.fill('#prompt', 'the cat and');
    await page.route('**/v1/completions', route => route.abort());
    await page.click('#go');
    await page.waitForFunction(() => /nobody/.test(document.querySelector('#message').textContent));
    seen.nobody = await message(page);
    await page.unroute('**/v1/completions');

    // Another name since the page was opened: it asks again.
    await page.evaluate(() => { document.querySelector('#about').textContent = ''; });
    let first = true;
    await page.route('**/v1/completions', async route => {
      const body = JSON.parse(route.request().postData());
      await route.continue(first ? { postData: JSON.stringify({ ...body, model: 'old' }) } : {});
      first = false;
    });
    await page.click('#go');
    await done(page);
    seen.renamed = await page.textContent('#about');

    // Stop frees the server; the page stays usable.
    await page.fill('#tokens', '60');
    await page.click('#go');
    await page.click('#stop');
    await page.waitForFunction(() => document.querySelector('#stop').getAttribute('aria-disabled') === 'true');
    await page.fill('#tokens', '8');
    await page.click('#go');
    await done(page);
    seen.afterStop = (await pane(page, 'a')).tokens;
  },

  /** More tokens than fit behind a prompt, and prompts that leave no room. */
  async tight() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=80&compare=false&a.mode=full`);
    await known(page);
    const counted = words => page.waitForFunction(text => document.querySelector('#count').textContent.includes(text), words);
    const blamed = () => page.$$eval('[aria-invalid]', fields => fields.map(field => field.id));
    const refusal = async () => {
      await page.click('#go');
      await failed(page);
      return { message: await message(page), blamed: await blamed(), address: await page.evaluate(() => location.hash) };
    };
    await page.fill('#prompt', 'q'.repeat(50));
    await page.waitForSelector('#fit', { state: 'visible' });
    seen.count = await page.textContent('#count');
    seen.offer = await page.textContent('#fit');
    seen.tooMany = await refusal();
    await page.click('#fit');
    seen.taken = await page.$eval('#tokens', field => field.value);
    seen.gone = await page.isHidden('#fit');
    await page.click('#go');
    await done(page);
    seen.tokens = (await pane(page, 'a')).tokens;
    await page.fill('#prompt', 'q'.repeat(200));
    await counted('leave no room');
    seen.noRoom = await refusal();
    await page.fill('#prompt', 'q'.repeat(10000));
    await counted('fit');
    seen.long = await page.textContent('#count');
    seen.tooLong = await refusal();
    await page.fill('#prompt', PROMPT);
    await counted('may follow');
    await page.click('#go');
    await done(page);
    seen.after = (await pane(page, 'a')).text;
  },

  /** A phone, on which settings are folded when they come. */
  async narrow() {
    const page = await open({ viewport: { width: 390, height: 800 } });
    await known(page);
    await page.click('#settings > summary');
    seen.sides = await page.$$eval('.sides fieldset', boxes => boxes.map(box => Math.round(box.getBoundingClientRect().height)));
    seen.mode = await page.isVisible('#mode');
    await shot(page, 'narrow');
  },

  /** A link with a policy that the server does not have. */
  async unknown() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=20&a.mode=early-exit&a.policy=none-such`);
    await known(page);
    await page.selectOption('#mode-b', 'early-exit');
    seen.policies = await page.$$eval('#policy-b option', options => options.map(option => option.value));
    seen.thresholds = [];
    for (const policy of ['max-probability', 'margin', 'entropy']) {
      await page.selectOption('#policy-b', policy);
      seen.thresholds.push(await page.$eval('#threshold-b', range => [range.value, range.max]));
    }
    await page.click('#go');
    await failed(page);
    seen.refusal = await message(page);
  },

  async key() {
    const page = await open();
    await failed(page);
    seen.wanted = await message(page);
    await page.fill('#key', 'schlüssel');
    await page.click('#go');
    await page.waitForFunction(() => /character/.test(document.querySelector('#message').textContent));
    seen.odd = await message(page);
    await page.fill('#key', 'wrong');
    await page.click('#go');
    await page.waitForFunction(() => /does not take/.test(document.querySelector('#message').textContent));
    await page.fill('#key', 'right');
    await page.click('#go'); // the first click
    await done(page);
    seen.tokens = (await pane(page, 'a')).tokens;
    seen.link = await page.evaluate(() => location.href);
  },

  async keyboard() {
    const page = await open({ viewport: { width: 320, height: 800 } }, `prompt=${encodeURIComponent(PROMPT)}&tokens=48&a.threshold=0.02&b.mode=full`);
    await known(page);
    await page.focus('#prompt');
    await page.keyboard.press('Control+Enter');
    await done(page);
    await page.focus('#go');
    await page.keyboard.press('Enter');
    await done(page);
    seen.focusAfterRun = await page.evaluate(() => document.activeElement.id);
    const place = () => page.evaluate(() => [...document.querySelectorAll('#pane-a .token')].indexOf(document.activeElement));
    await page.focus('#pane-a .token >> nth=0');
    seen.places = [];
    for (const key of ['ArrowRight', 'End', 'Home', 'ArrowDown', 'ArrowUp']) {
      await page.keyboard.press(key);
      seen.places.push(await place());
    }
    await page.keyboard.press('Enter');
    seen.opened = await page.textContent('#token-title');
    await page.keyboard.press('Escape');
    seen.tipGone = await page.isHidden('#tip');
    await page.focus('#lens-box td[tabindex="0"]');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    seen.cell = await page.evaluate(() => document.activeElement.getAttribute('aria-label'));
    await page.keyboard.press('Enter');
    seen.openedInLens = await page.textContent('#token-title');
    // A new run takes the token that had the focus; the focus stays in the text.
    await page.focus('#pane-a .token >> nth=0');
    await page.evaluate(() => document.querySelector('#form').requestSubmit());
    await done(page);
    seen.focusKept = await page.evaluate(() => document.querySelector('#pane-a .text').contains(document.activeElement));
  },

  async ends() {
    const page = await open();
    await known(page);
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    seen.b = await pane(page, 'b');
    seen.heads = await page.$$eval('#lens-box thead th', heads => heads.map(head => head.textContent));
  },

  async calibrated() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=20&a.mode=server&b.mode=speculative`);
    await known(page);
    await page.click('#go');
    await done(page);
    seen.server = await pane(page, 'a');
    seen.lensOf = await page.$eval('#lens-of', list => list.value);
    await page.selectOption('#lens-of', 'a');
    seen.frames = await frames(page);
    seen.agreement = await page.textContent('#agreement');

    // The same, as settings of one's own.
    await page.selectOption('#mode', 'early-exit');
    await done(page);
    await page.click('#side-a summary >> text=Exits');
    await page.click('text=Use the calibrated thresholds');
    await done(page);
    seen.taken = await pane(page, 'a');
    seen.slider = await page.isDisabled('#threshold');
    seen.address = await page.evaluate(() => location.hash);
    await page.reload();
    await page.waitForSelector('#pane-a .token');
    seen.kept = await pane(page, 'a');
    await page.click('#side-a summary >> text=Exits');
    await page.fill('#threshold-1', '0.9');
    await page.press('#threshold-1', 'Tab');
    await page.click('#write-so');
    await done(page);
    seen.typed = await pane(page, 'a');
  },

  async curve() {
    const page = await open();
    await known(page);
    await page.click('#go');
    await done(page);
    await page.evaluate(() => {
      globalThis.grown = [];
      new MutationObserver(() => globalThis.grown.push(document.querySelectorAll('#curve-chart .dot').length))
        .observe(document.querySelector('#curve-chart'), { childList: true });
    });
    const over = () => page.waitForFunction(() => /Agreement is given|Not to be trusted/.test(document.querySelector('#curve-state').textContent), null, { timeout: 100000 });
    await page.click('#curve-go');
    await over();
    seen.grown = await page.evaluate(() => globalThis.grown);
    seen.state = await page.textContent('#curve-state');
    seen.points = await page.$$eval('#curve-chart .dot', dots => dots.map(dot => dot.cx.baseVal.value));
    seen.spreads = await page.$$eval('#curve-chart .spread', lines => lines.length);
    seen.labels = await page.$$eval('#curve-chart .threshold', texts => texts.map(text => Number(text.textContent)));
    const beyond = () => page.$eval('#curve-chart svg', svg => [...svg.querySelectorAll(':not(title)')].filter(part => {
      const [box, room] = [part.getBoundingClientRect(), svg.getBoundingClientRect()];
      return box.left < room.left - 1 || box.right > room.right + 1 || box.top < room.top - 1 || box.bottom > room.bottom + 1;
    }).map(part => part.outerHTML));
    const together = () => page.$eval('#curve-chart svg', svg => {
      const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
      return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([other]) => `${one} on ${other}`));
    });
    await shot(page, 'curve');
    seen.beyond = await beyond();
    seen.together = await together();
    await page.setViewportSize({ width: 320, height: 800 });
    await page.waitForFunction(() => document.querySelector('#curve-chart svg').viewBox.baseVal.width < 320);
    seen.beyond.push(...await beyond());
    seen.together.push(...await together());
    await shot(page, 'curve-320');
    await page.setViewportSize({ width: 1200, height: 900 });

    // Its texts are those of the panes: it stays while thresholds move, and goes with the prompt.
    await move(page, .05);
    await page.click('#write-so');
    await done(page);
    seen.stays = await page.isVisible('#curve');

    // Stopped half way, the page goes on.
    await page.click('#curve-go');
    await page.waitForFunction(() => document.querySelectorAll('#curve-chart .dot').length === 1);
    await page.click('#stop');
    await page.waitForFunction(() => document.querySelector('#curve-state').textContent === 'stopped');
    await page.click('#curve-go');
    await page.fill('#prompt', 'the dog and');
    await page.click('#go'); // takes its place
    await done(page);
    seen.gone = await page.isHidden('#curve');
    seen.text = (await pane(page, 'b')).text;
  },

  async looks() {
    const axe = await readFile(new URL(import.meta.resolve('axe-core')), 'utf8');
    const faults = async page => {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      return violations.map(fault => `${fault.id}: ${fault.nodes.slice(0, 2).map(node => node.html.slice(0, 160)).join(' | ')}`);
    };
    const wide = page => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    const widest = page => page.evaluate(() => [...document.querySelectorAll('body *')]
      .filter(box => box.getBoundingClientRect().right > document.documentElement.clientWidth && !box.closest('#lens-box, .scrolled'))
      .slice(0, 3).map(box => box.outerHTML.slice(0, 80)).join(' | '));
    seen.faults = [];
    seen.tooWide = [];
    for (const colorScheme of ['light', 'dark']) {
      const page = await open({ colorScheme, viewport: { width: 1200, height: 900 } });
      await known(page);
      seen.faults.push(...await faults(page));
      await page.check('#chat');
      await page.click('#go');
      await done(page);
      await page.click('#answer-a');
      await page.waitForSelector('#turn-list li');
      seen.faults.push(...await faults(page));
      await page.uncheck('#chat');
      await page.fill('#prompt', PROMPT);
      await page.click('#go');
      await done(page);
      await page.click('#pane-a .token >> nth=3');
      await page.$$eval('details', all => all.forEach(one => { one.open = true; }));
      seen.faults.push(...await faults(page));
      for (const width of [320, 390, 500, 768, 1280, 1600]) {
        await page.setViewportSize({ width, height: 800 });
        // The page places its tip anew with the frame after a resize.
        await page.evaluate(() => new Promise(placed => requestAnimationFrame(() => requestAnimationFrame(placed))));
        if ([320, 390, 1280].includes(width)) {
          seen.faults.push(...(await faults(page)).map(fault => `${width} ${colorScheme}: ${fault}`));
        }
        const over = await wide(page);
        if (over > 0) {
          seen.tooWide.push(`${width} ${colorScheme}: ${over} ${await widest(page)}`);
        }
        if (folder) {
          await shot(page, `${width}-${colorScheme}`);
        }
      }
    }

    // At 200 %, half of the width is left.
    const large = await open({ viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 });
    await done(large);
    seen.faults.push(...await faults(large));
    seen.tooWide.push(...(await wide(large) > 0 ? [`200 %: ${await widest(large)}`] : []));

    // The scale: an order in grey too, for many exits; the mark gets heavier.
    const page = await open();
    await known(page);
    seen.scale = await page.evaluate(async () => {
      const { paint } = await import('./view.js');
      const context = document.createElement('canvas').getContext('2d');
      const heads = [...Array.from({ length: 12 }, (_, i) => `exit_${2 * i + 1}`), 'final'];
      return heads.slice(0, -1).map(head => {
        const box = document.createElement('span');
        paint(box, head, heads, 'exit', 'mark');
        document.body.append(box);
        const style = getComputedStyle(box);
        context.fillStyle = style.backgroundColor;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
        return { grey: .2126 * r + .7152 * g + .0722 * b, mark: parseFloat(style.boxShadow.match(/ 0px ([\d.]+)px/)[1]) };
      });
    });
    const entries = await page.evaluate(() => performance.getEntriesByType('resource').map(entry => entry.decodedBodySize)
      .concat(performance.getEntriesByType('navigation').map(entry => entry.decodedBodySize)));
    seen.weight = entries.reduce((sum, size) => sum + size, 0);
  },
};

await scenarios[scenario]();
await browser.close();
console.log(JSON.stringify(seen));
