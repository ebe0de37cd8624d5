// The panes: a text whose tokens have their exits' colours, its figures, and the tip.

import { onScale, percent, plural } from './decide.js';
import { make } from './settings.js';
import { course } from './charts.js';

const tip = document.getElementById('tip');
let chosen = null; // the token whose tip is shown

export const headName = head => (head === 'final' ? 'final head' : `exit ${head.slice(5)}`);

/** Gives an element an exit's colour and mark. */
export function paint(element, head, heads, ...classes) {
  element.classList.add(...classes);
  element.classList.toggle('final', head === 'final');
  element.style.setProperty('--depth', onScale(head, heads));
}

/** A token as text in quotes: every blank counts. */
export function quoted(token) {
  if (!token.bytes.length) {
    return token.token; // a special token's name
  }
  return token.token.includes('\uFFFD') ? `bytes ${hex(token.bytes)}` : JSON.stringify(token.token);
}

const hex = bytes => bytes.map(byte => byte.toString(16).padStart(2, '0')).join(' ');

/** What stands for a token that has no glyph of its own. */
function shownInstead(token, piece) {
  if (!token.bytes.length) {
    return token.token;
  }
  if (piece === '' && token.token.includes('\uFFFD')) {
    return `⟨${hex(token.bytes)}⟩`;
  }
  return piece.startsWith('\n') || piece.startsWith(' \n') ? '⏎' : null;
}

export class Pane {
  /**
   * @param onOpen is given the pane's name and a token's place when one is opened
   * @param onWalk likewise, when the keyboard goes to one
   */
  constructor(name, onOpen, onWalk) {
    this.name = name;
    this.onWalk = onWalk;
    this.box = document.getElementById(`pane-${name}`);
    this.text = this.find('.text');
    this.tokens = []; // their elements
    this.onOpen = onOpen;
    const show = event => event.target.classList.contains('token') && showTip(event.target);
    this.text.addEventListener('mouseover', show);
    this.text.addEventListener('focusin', show);
    this.text.addEventListener('mouseleave', () => { // the one with the focus keeps its tip
      const focused = this.text.querySelector('.token:focus');
      focused ? showTip(focused) : hideTip();
    });
    this.text.addEventListener('focusout', hideTip);
    this.text.addEventListener('click', event => {
      if (event.target.classList.contains('token')) {
        show(event);
        this.open(event.target);
      }
    });
    this.text.addEventListener('keydown', event => this.walk(event));
    new ResizeObserver(() => this.drawCourse()).observe(this.find('.course'));
  }

  find(selector) {
    return this.box.querySelector(selector);
  }

  open(element) {
    this.onOpen(this.name, this.tokens.indexOf(element));
  }

  /** Goes to a token, as the Tab key's stop. */
  focus(index) {
    this.tokens.forEach(token => { token.tabIndex = -1; });
    this.tokens[index].tabIndex = 0;
    this.tokens[index].focus();
  }

  /** One stop for the Tab key; arrows, Home and End go from token to token. */
  walk(event) {
    const { tokens } = this;
    const here = tokens.indexOf(event.target);
    if (here < 0) {
      return;
    }
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.open(event.target);
      return;
    }
    const to = {
      ArrowRight: () => here + 1,
      ArrowLeft: () => here - 1,
      Home: () => 0,
      End: () => tokens.length - 1,
      ArrowDown: () => beside(tokens, here, 1),
      ArrowUp: () => beside(tokens, here, -1),
    }[event.key]?.();
    if (to === undefined) {
      return;
    }
    event.preventDefault();
    const next = Math.max(0, Math.min(tokens.length - 1, to));
    this.focus(next);
    this.onWalk(this.name, next);
  }

  drawCourse() {
    if (this.run) {
      this.find('.course').replaceChildren(course(this.run, this.find('.course').clientWidth));
    }
  }

  /** Empties it; a focus inside stays in the text. */
  clear(note = '') {
    hideTip();
    this.run = null;
    this.tokens = [];
    this.box.classList.remove('preview');
    const hadFocus = this.text.contains(document.activeElement);
    this.text.replaceChildren(...(note ? [make('span', { className: 'waiting' }, note)] : []));
    if (hadFocus) {
      this.text.focus();
    }
    for (const part of ['.made', '.end', '.figures', '.histogram', '.course']) {
      this.find(part).replaceChildren();
    }
    document.getElementById(`title-${this.name}`).textContent = this.name === 'a' ? 'Left' : 'Right';
  }

  /** Says what went wrong; what was written stays. */
  fail(run, why) {
    if (run.tokens.length) {
      run.broken = why;
      this.figures(run);
    } else {
      this.clear();
    }
    this.text.append(make('span', { className: 'fault' }, run.tokens.length ? ` ${why}` : why));
  }

  /** Begins a run: what was given, and what the text is made with. */
  begin(run) {
    this.clear();
    document.getElementById(`title-${this.name}`).textContent = run.title;
    this.find('.made').textContent = run.made;
    const given = run.settings.prompt.length > 400 ? `… ${run.settings.prompt.slice(-380)}` : run.settings.prompt;
    this.text.append(make('span', { className: 'given' }, run.settings.chat ? `${given}\n` : given));
  }

  add(run, token) {
    const element = make('span', {
      className: 'token',
      role: 'button',
      tabIndex: run.tokens[0] === token ? 0 : -1,
    });
    element.textContent = token.piece;
    const instead = shownInstead(token, token.piece);
    if (instead) {
      element.dataset.shown = instead;
    }
    element.setAttribute('aria-label', spoken(token, run.layers));
    element.token = token;
    element.layers = run.layers;
    element.head = token.head;
    paint(element, token.head, run.heads, 'exit', 'mark');
    element.classList.toggle('drafted', token.drafted);
    this.tokens.push(element);
    this.text.append(element);
  }

  /** Tells at its tokens who drafted them, and what else was drafted in their place. */
  draft(run, drafts) {
    run.drafts = drafts;
    for (const { at, by, accepted, tokens } of drafts) {
      tokens.slice(0, accepted + 1).forEach((token, i) => {
        const entry = run.tokens[at + i];
        if (entry) {
          entry.draft = { by, token, held: i < accepted };
          const element = this.tokens[at + i];
          element?.setAttribute('aria-label', spoken(entry, run.layers));
          element?.classList.toggle('refused', i === accepted);
        }
      });
    }
  }

  show(run) {
    this.begin(run);
    run.tokens.forEach(token => this.add(run, token));
    this.draft(run, run.drafts ?? []);
    this.text.append(run.rest ?? '');
    this.figures(run);
  }

  figures(run) {
    const { tokens } = run;
    if (!tokens.length) {
      return;
    }
    const speeds = run.speeds;
    const entries = [
      ['tokens', tokens.length],
      ['mean depth', `${depth(run).toFixed(2)} of ${run.layers}`],
      ['first token', run.first === null ? '…' : `${Math.round(1000 * run.first)} ms`],
      ['time', `${run.seconds.toFixed(2)} s`],
      ...(speeds ? [[`tokens/s in ${speeds.turns} turns`, `${speeds.median} (${speeds.least} to ${speeds.most})`]] : []),
    ];
    if (run.drafted) {
      entries.push(['drafts accepted', `${run.confirmed} of ${run.drafted}`]);
    }
    this.find('.figures').replaceChildren(...entries.map(([name, value]) =>
      make('div', {}, make('dt', {}, name), make('dd', {}, String(value)))));
    this.histogram(run);
    this.run = run;
    this.drawCourse();
    this.find('.end').textContent = endWords(run);
  }

  /** Colours the text as if its tokens left at other heads, or as they did. */
  recolour(run, heads) {
    this.box.classList.toggle('preview', heads.some((head, i) => head !== run.tokens[i].head));
    heads.forEach((head, i) => {
      const element = this.tokens[i];
      if (element.head !== head) {
        element.head = head;
        paint(element, head, run.heads);
      }
    });
    this.histogram(run, heads);
  }

  histogram(run, heads = run.tokens.map(token => token.head)) {
    const counts = run.heads.map(head => heads.filter(other => other === head).length);
    const rows = run.heads.flatMap((head, i) => {
      const share = counts[i] / run.tokens.length;
      const bar = make('div', { className: 'bar', hidden: counts[i] === 0 });
      bar.style.width = `${100 * share}%`;
      paint(bar, head, run.heads, 'exit');
      return [
        make('span', {}, headName(head)),
        make('div', { className: 'track' }, bar),
        make('span', { className: 'count' }, `${counts[i]} (${percent(share)})`),
      ];
    });
    this.find('.histogram').replaceChildren(...rows);
  }

  /** Marks where the text parts from the other one. */
  mark(place) {
    this.tokens[place]?.classList.add('differs');
  }

  /** Marks the token that is open; none for -1. */
  choose(place) {
    this.text.querySelector('.chosen')?.classList.remove('chosen');
    this.tokens[place]?.classList.add('chosen');
  }
}

export const depth = run => run.tokens.reduce((sum, token) => sum + token.layer, 0) / run.tokens.length;

function endWords(run) {
  const last = run.tokens.at(-1);
  if (run.finish === 'length') {
    return `Ended at the limit of ${plural(run.settings.tokens, 'token')}.`;
  }
  if (run.finish === 'stop') {
    return last && !last.bytes.length ? `Ended by the model with ${last.token}.` : 'Ended at a stop text.';
  }
  return run.stopped ? 'Stopped by you.' : run.broken ? `Broken off: ${run.broken}.` : '';
}

const drafter = by => (by === 'text' ? 'the text itself' : headName(by));

/** What became of a draft: of this token, or of another one in its place. */
export const draftWords = ({ by, token, held }) => (held
  ? `drafted by ${drafter(by)}, accepted`
  : `${drafter(by)} drafted ${quoted(token)}, rejected`);

function spoken(token, layers) {
  const where = token.head === 'final' ? 'left at the final head' : `left at exit ${token.layer}`;
  const draft = token.draft ? `, ${draftWords(token.draft)}` : token.drafted ? ', an accepted draft' : '';
  return `${quoted(token)} ${where} of ${layers} layers, head ${percent(token.confidence)} sure${draft}`;
}

/** The token above or below: on the next line, nearest to the middle. */
function beside(tokens, here, direction) {
  const box = tokens[here].getBoundingClientRect();
  const middle = (box.left + box.right) / 2;
  let best = here;
  let line = null;
  let least = Infinity;
  for (let i = here + direction; tokens[i]; i += direction) {
    const other = tokens[i].getBoundingClientRect();
    if (Math.abs(other.top - box.top) < box.height / 2) {
      continue;
    }
    line ??= other.top;
    if (Math.abs(other.top - line) > box.height / 2) {
      break;
    }
    const off = Math.abs((other.left + other.right) / 2 - middle);
    if (off < least) {
      least = off;
      best = i;
    }
  }
  return best;
}

/** What a token was; the lens has what else it might have been. */
function showTip(element) {
  if (!document.getElementById('token').hidden) {
    return; // it is all there
  }
  const { token, layers } = element;
  chosen = element;
  const lines = [
    `${quoted(token)} left at ${headName(token.head)}, layer ${token.layer} of ${layers}`,
    `the head's surest choice: ${(100 * token.confidence).toFixed(1)} %`,
  ];
  if (token.logprob !== undefined) {
    lines.push(`this token: ${(100 * Math.exp(token.logprob)).toFixed(1)} %`);
  }
  if (token.draft) {
    lines.push(draftWords(token.draft));
  } else if (token.drafted) {
    lines.push('a draft, accepted by the full model');
  }
  if (token.at !== undefined) {
    lines.push(`after ${Math.round(token.at)} ms`);
  }
  tip.textContent = lines.join('\n');
  tip.hidden = false;
  placeTip();
}

function placeTip() {
  if (!chosen?.isConnected) {
    hideTip();
    return;
  }
  const box = chosen.getClientRects()[0] ?? chosen.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
  const below = box.bottom + tip.offsetHeight + 8 < innerHeight;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(below ? box.bottom + 6 : box.top - tip.offsetHeight - 6) + scrollY}px`;
}

export function hideTip() {
  chosen = null;
  tip.hidden = true;
}

addEventListener('resize', () => chosen && placeTip());
new ResizeObserver(() => chosen && placeTip()).observe(document.body); // with whatever moves its token
