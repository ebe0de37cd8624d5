// Small drawings: the course of a text, and speed against agreement.

import { onScale } from './decide.js';

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
  const bar = (token, i, base, height) => {
    const box = draw('rect', {
      class: token.head === 'final' ? 'exit final' : 'exit',
      x: left + i * step, y: base - height, width: Math.max(.5, step > 4 ? step - 1 : .8 * step), height,
    });
    box.style.setProperty('--depth', onScale(token.head, heads));
    return box;
  };
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
    ...tokens.map((token, i) => bar(token, i, 62, 44 * token.layer / layers)),
    ...tokens.flatMap((token, i) => (i ? [bar(token, i, 134, 48 * Math.max(0, Math.min(1, times[i] / highest)))] : [])));
  return svg;
}

/** A round step that divides a range into about four. */
function roundStep(range) {
  const power = 10 ** Math.floor(Math.log10(range / 4));
  return [1, 2, 5, 10].map(times => times * power).find(step => range / step <= 5);
}

/**
 * Speed against agreement.
 *
 * @param points threshold, share that agrees, and ratio with its least and most
 * @param room as wide as it may get
 */
export function curve(points, room) {
  const width = Math.max(240, Math.min(704, room));
  const height = 300;
  const [left, right, top, bottom] = [44, 24, 24, 36];
  const lowest = Math.min(...points.map(point => point.agreement), .99);
  const x0 = Math.floor(20 * lowest) / 20;
  const ys = points.flatMap(point => [point.least, point.most]);
  const step = roundStep(Math.max(.2, Math.max(...ys, 1) - Math.min(...ys, 1)));
  const y0 = Math.floor(Math.min(...ys, 1) / step) * step;
  const y1 = Math.ceil(Math.max(...ys, 1) / step) * step;
  const x = share => left + (width - left - right) * (share - x0) / (1 - x0);
  const y = ratio => height - bottom - (height - top - bottom) * (ratio - y0) / (y1 - y0);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Speed against agreement, by threshold' });
  for (let ratio = y0; ratio <= y1 + step / 2; ratio += step) {
    svg.append(
      draw('line', { class: Math.abs(ratio - 1) < step / 100 ? 'axis' : 'grid', x1: left, x2: width - right, y1: y(ratio), y2: y(ratio) }),
      draw('text', { x: left - 6, y: y(ratio) + 4, 'text-anchor': 'end' }, ratio.toFixed(step < .1 ? 2 : 1)));
  }
  const labels = Math.floor((width - left - right) / 56); // as many as have room
  const shareStep = [.01, .02, .05, .1, .2, .5, 1].find(step => (1 - x0) / step <= Math.min(5, labels));
  for (let share = 1; share >= x0 - 1e-9; share -= shareStep) {
    svg.append(draw('text', { x: x(share), y: height - bottom + 16, 'text-anchor': 'middle' }, `${Math.round(100 * share)} %`));
  }
  svg.append(
    draw('text', { x: left, y: 12 }, `times the full model’s speed${width < 420 ? '' : ', smallest to largest of the turns'}`),
    draw('text', { x: width - right, y: height - 4, 'text-anchor': 'end' }, 'tokens that are the full model’s'));
  const placed = [];
  for (const point of [...points].sort((one, other) => one.agreement - other.agreement)) {
    const at = [x(point.agreement), y(point.ratio)];
    svg.append(
      draw('line', { class: 'spread', x1: at[0], x2: at[0], y1: y(point.least), y2: y(point.most) }),
      draw('circle', { class: 'dot', cx: at[0], cy: at[1], r: 4 }));
    const place = [at[0] + (at[0] > width - 60 ? -8 : 8), at[1] - 8];
    if (placed.every(other => Math.abs(other[0] - place[0]) > 34 || Math.abs(other[1] - place[1]) > 13)) {
      placed.push(place);
      svg.append(draw('text', { class: 'threshold', x: place[0], y: place[1], 'text-anchor': at[0] > width - 60 ? 'end' : 'start' }, String(point.threshold)));
    }
  }
  return svg;
}
