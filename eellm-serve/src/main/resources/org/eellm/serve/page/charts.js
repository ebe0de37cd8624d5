// Small drawings: the course of a text, and speed against agreement.

import { onScale, percent } from './decide.js';

const SVG = 'http://www.w3.org/2000/svg';

/** An element of SVG; classes have their looks in page.css. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, typeof value === 'number' ? +value.toFixed(2) : value);
  }
  element.append(...children);
  return element;
}

/** For each token how deep it went, and below how long it took, as wide as there is room. */
export function course(run, room) {
  const { tokens, layers, heads } = run;
  const width = Math.max(160, room);
  const left = 34;
  const step = (width - left) / Math.max(tokens.length, 16);
  const times = tokens.map((token, i) => token.at - (i ? tokens[i - 1].at : 0));
  const later = times.slice(1); // the first has the prompt in it
  // A pause of the machine's would flatten all others, so bars far beyond most are cut. Drafts that
  // hold take no time at all.
  const usual = later.length ? Math.max(1.5 * later.toSorted((a, b) => a - b)[Math.floor(.9 * later.length)],
    4 * later.reduce((sum, time) => sum + time, 0) / later.length) : 1;
  const highest = Math.max(.1, Math.min(Math.max(...later, .1), usual));
  const cut = later.filter(time => time > highest).length;
  const svg = draw('svg', {
    viewBox: `0 0 ${width} 136`,
    role: 'img',
    'aria-label': 'Layers that each token passed, and the time that each took',
  });
  const bars = (base, height) => heads.map(head => { // one path for each head: there may be thousands of tokens
    const wide = Math.max(.5, step > 4 ? step - 1 : .8 * step).toFixed(2);
    const path = draw('path', {
      class: head === 'final' ? 'exit final' : 'exit',
      d: tokens.map((token, i) => (token.head === head ? `M${(left + i * step).toFixed(2)} ${base}v${(-height(token, i)).toFixed(2)}h${wide}V${base}z` : '')).join(''),
    });
    path.style.setProperty('--depth', onScale(head, heads));
    return path;
  });
  svg.append(
    draw('text', { x: left, y: 10 }, 'layers passed by each token'),
    draw('text', { x: 4, y: 24 }, String(layers)),
    draw('text', { x: 4, y: 62 }, '0'),
    draw('line', { class: 'grid', x1: left, x2: width, y1: 18, y2: 18 }),
    draw('line', { class: 'axis', x1: left, x2: width, y1: 62, y2: 62 }),
    draw('text', { x: left, y: 78 }, `ms for each after the first${width < 320 ? '' : ' token'}${cut ? `; ${cut} cut off` : ''}`),
    draw('text', { x: 4, y: 92 }, highest < 10 ? highest.toFixed(1) : highest.toFixed(0)),
    draw('text', { x: 4, y: 134 }, '0'),
    draw('line', { class: 'grid', x1: left, x2: width, y1: 86, y2: 86 }),
    draw('line', { class: 'axis', x1: left, x2: width, y1: 134, y2: 134 }),
    ...bars(62, token => 44 * token.layer / layers),
    ...bars(134, (token, i) => (i ? 48 * Math.max(0, Math.min(1, times[i] / highest)) : 0)));
  return svg;
}

/** A round step that divides a range into about four. */
function roundStep(range) {
  const power = 10 ** Math.floor(Math.log10(range / 4));
  return [1, 2, 5, 10].map(times => times * power).find(step => range / step <= 5);
}

/** The thresholds of points in words. */
const labelOf = ([first, ...more]) => (more.length < 3
  ? [first, ...more].map(point => point.label).join(', ') : `${first.label} … ${more.at(-1).label}`);

/** Points whose labels would fall together, as lists; `place` tells where a label of such a list stands. */
function clusters(points, place) {
  const all = points.map(point => [point]);
  const meets = (one, other) => one.from < other.to && other.from < one.to && Math.abs(one.y - other.y) < 14;
  for (let i = 0; i < all.length; i++) {
    const j = all.findIndex((other, at) => at > i && meets(place(all[i]), place(other)));
    if (j > i) {
      all[i].push(...all.splice(j, 1)[0]);
      i = -1; // a longer label may meet others
    }
  }
  return all;
}

/**
 * Speed against agreement. An outlier among the turns does not stretch the scale: its line is cut.
 *
 * @param points label, share that agrees, and ratio with its least and most
 * @param room as wide as it may get
 * @param other whose speed theirs is a multiple of
 */
export function curve(points, room, other) {
  const width = Math.max(240, Math.min(704, room));
  const height = 300;
  const [left, right, top, bottom] = [44, 24, 24, 36];
  const sorted = [...points].sort((one, other) => one.agreement - other.agreement); // from left to right
  const lowest = Math.min(...points.map(point => point.agreement), .99);
  const x0 = Math.max(0, lowest - .08 * (1 - lowest));
  const middle = points.map(point => point.ratio);
  const [least, most] = [Math.min(1, ...middle), Math.max(1, ...middle)];
  const beyond = Math.max(.15, .5 * (most - least)); // as far as a spread is drawn
  const step = roundStep(most - least + 2 * beyond);
  const y0 = Math.max(0, step * Math.floor(Math.max(Math.min(...points.map(point => point.least), 1), least - beyond) / step));
  const y1 = step * Math.ceil(Math.min(Math.max(...points.map(point => point.most), 1), most + beyond) / step + (most === 1 ? 1 : 0));
  const x = share => left + (width - left - right) * (share - x0) / (1 - x0);
  const y = ratio => height - bottom - (height - top - bottom) * (Math.max(y0, Math.min(y1, ratio)) - y0) / (y1 - y0);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Speed against agreement; the table has the numbers' });
  for (let ratio = y0; ratio <= y1 + step / 2; ratio += step) {
    svg.append(
      draw('line', { class: Math.abs(ratio - 1) < step / 100 ? 'axis' : 'grid', x1: left, x2: width - right, y1: y(ratio), y2: y(ratio) }),
      draw('text', { x: left - 6, y: y(ratio) + 4, 'text-anchor': 'end' }, ratio.toFixed(step < .1 ? 2 : 1)));
  }
  const labels = Math.floor((width - left - right) / 56); // as many as have room
  const shareStep = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1].find(step => (1 - x0) / step <= Math.min(5, labels));
  for (let share = 1; share >= x0 - 1e-9; share -= shareStep) {
    svg.append(draw('text', { x: x(share), y: height - bottom + 16, 'text-anchor': 'middle' }, `${(100 * share).toFixed(shareStep < .01 ? 1 : 0)} %`));
  }
  svg.append(
    draw('text', { x: left, y: 12 }, `times ${other}’s speed${width < 420 ? '' : ', smallest to largest of the turns'}`),
    draw('text', { x: width - right, y: height - 4, 'text-anchor': 'end' }, 'tokens that are the full model’s'));
  for (const point of sorted) {
    const at = [x(point.agreement), y(point.ratio)];
    svg.append(
      draw('line', { class: point.most > y1 || point.least < y0 ? 'spread cut' : 'spread', x1: at[0], x2: at[0], y1: y(point.least), y2: y(point.most) }),
      draw('circle', { class: 'dot', cx: at[0], cy: at[1], r: 4 }, draw('title', {}, pointWords(point))));
  }
  const place = together => {
    const [at, wide] = [x(together[0].agreement), 8 * labelOf(together).length];
    const atEnd = at > width - 110;
    const from = atEnd ? at - 8 - wide : at + 8;
    return { atEnd, from, to: from + wide, y: y(together[0].ratio) - 8 };
  };
  for (const together of clusters(sorted, place)) {
    const { atEnd, from, to, y: at } = place(together);
    svg.append(draw('text', { class: 'threshold', x: atEnd ? to : from, y: at, 'text-anchor': atEnd ? 'end' : 'start' }, labelOf(together)));
  }
  return svg;
}

const pointWords = point => `${point.label}: ${percent(point.agreement)} agree, ${point.ratio.toFixed(2)} times the speed (${point.least.toFixed(2)} to ${point.most.toFixed(2)})`;
