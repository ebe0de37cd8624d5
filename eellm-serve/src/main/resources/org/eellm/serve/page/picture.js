// Saves what is shown: as JSON, and as a picture that needs nothing else.

import { draw } from './charts.js';

const SIZE = 14; // of letters
const LINE = 26;
const CHAR = 8.43; // the width that every letter is set to
const COLUMNS = 58;

/** A colour of the page as #rrggbb, which all viewers of pictures know. */
function hex(colour) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d');
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return `#${[r, g, b].map(value => value.toString(16).padStart(2, '0')).join('')}`;
}

/** Gives a file to save. */
export function offer(name, text, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export const saveJson = content => offer('eellm-exits.json', `${JSON.stringify(content, null, 1)}\n`, 'application/json');

/** Words in lines of a number of letters. */
function wrapped(text, columns) {
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1).length + word.length + 1 > columns) {
      lines.push('');
    }
    lines[lines.length - 1] += (lines.at(-1) ? ' ' : '') + word;
  }
  return lines;
}

function words(lines, x, y, ink, attributes = {}) {
  return lines.map((line, i) => draw('text', {
    x, y: y + 19 * i, fill: ink, 'font-family': 'system-ui, sans-serif', 'font-size': SIZE, ...attributes,
  }, line));
}

/** A text with its tokens' colours, drawn letter by letter; and the height it takes. */
function paneOf(box, left, ink, faint) {
  const group = draw('g');
  let column = 0;
  let line = 0;
  const put = (text, fill, background, mark) => {
    let from = column;
    let run = '';
    const flush = () => {
      if (run) {
        const x = left + from * CHAR;
        const y = line * LINE;
        const width = run.length * CHAR;
        if (background) {
          group.append(draw('rect', { x, y, width, height: 20, fill: background }));
        }
        if (mark) {
          group.append(draw('rect', { x, y: y + 20, width: width - 1, height: mark.weight, fill: mark.colour }));
        }
        group.append(draw('text', {
          x, y: y + 15, fill, textLength: width, lengthAdjust: 'spacingAndGlyphs',
          'font-family': 'ui-monospace, monospace', 'font-size': SIZE, 'xml:space': 'preserve',
        }, run));
      }
      run = '';
      from = column;
    };
    for (const letter of text.replace(/[^\P{C}\n]|\uFFFE|\uFFFF/gu, '·')) { // XML has no control characters
      if (letter === '\n' || column === COLUMNS) {
        flush();
        column = from = 0;
        line++;
      }
      if (letter !== '\n') {
        run += letter;
        column++;
      }
    }
    flush();
  };
  const given = box.querySelector('.given')?.textContent ?? '';
  put(given, faint);
  for (const token of box.querySelectorAll('.token')) {
    const style = getComputedStyle(token);
    const isFinal = token.classList.contains('final');
    put((token.dataset.shown ?? '') + token.textContent, ink, isFinal ? null : hex(style.backgroundColor),
      markOf(style));
  }
  return { group, height: (line + 1) * LINE };
}

/** The mark below a token, which is a shadow. */
function markOf(style) {
  const [, colour, weight] = style.boxShadow.match(/^(.*\)) 0px ([\d.]+)px/);
  return { weight: parseFloat(weight), colour: hex(colour) };
}

/** Draws both texts with their settings, figures, the legend and a caption. */
function pictureOf(caption) {
  const body = getComputedStyle(document.body);
  const [ground, ink] = [hex(body.backgroundColor), hex(body.color)];
  const faint = hex(getComputedStyle(document.querySelector('.made')).color);
  const paneWidth = COLUMNS * CHAR;
  const boxes = [...document.querySelectorAll('#panes section:not([hidden])')];
  const width = 2 * 20 + boxes.length * paneWidth + (boxes.length - 1) * 30;
  const parts = [draw('text', { x: 20, y: 32, fill: ink, 'font-family': 'system-ui, sans-serif', 'font-size': 20, 'font-weight': 700 }, 'Where tokens leave')];
  let x = 20;
  for (const item of document.querySelectorAll('#legend li')) {
    const style = getComputedStyle(item);
    const wide = item.textContent.length * 7.4 + 16;
    if (!item.classList.contains('final')) {
      parts.push(draw('rect', { x, y: 46, width: wide, height: 20, fill: hex(style.backgroundColor) }));
    }
    parts.push(
      draw('rect', { x, y: 66, width: wide, height: markOf(style).weight, fill: markOf(style).colour }),
      ...words([item.textContent], x + 8, 61, ink));
    x += wide + 12;
  }
  let lowest = 0;
  boxes.forEach((box, i) => {
    const left = 20 + i * (paneWidth + 30);
    const title = box.querySelector('h2').textContent;
    const pane = paneOf(box, left, ink, faint);
    pane.group.setAttribute('transform', 'translate(0 122)');
    const figures = wrapped([...box.querySelectorAll('.figures div')]
      .map(row => `${row.children[0].textContent} ${row.children[1].textContent}`).join(' · '), 68);
    parts.push(
      ...words([title], left, 96, ink, { 'font-weight': 700 }),
      pane.group,
      ...words([box.querySelector('.made').textContent, ...figures], left, 122 + pane.height + 18, faint));
    lowest = Math.max(lowest, 122 + pane.height + 18 + 19 * (figures.length + 1));
  });
  const lines = wrapped(caption, Math.floor(width / 7.6));
  parts.push(...words(lines, 20, lowest + 10, ink));
  const height = lowest + 10 + 19 * lines.length + 10;
  return draw('svg', { width, height, viewBox: `0 0 ${width} ${height}` },
    draw('title', {}, 'Where tokens leave'), draw('desc', {}, caption),
    draw('rect', { width, height, fill: ground }), ...parts);
}

export const saveSvg = caption =>
  offer('eellm-exits.svg', new XMLSerializer().serializeToString(pictureOf(caption)), 'image/svg+xml');

/** Saves a drawing of the page with the colours that its styles give it. */
export function savePlot(svg, name) {
  const copy = svg.cloneNode(true);
  const parts = [...svg.querySelectorAll('*')];
  [...copy.querySelectorAll('*')].forEach((part, i) => {
    const style = getComputedStyle(parts[i]);
    for (const property of ['fill', 'stroke']) {
      part.setAttribute(property, style[property] === 'none' ? 'none' : hex(style[property]));
    }
    part.setAttribute('stroke-width', style.strokeWidth);
    part.setAttribute('font-size', style.fontSize);
    part.setAttribute('font-family', 'system-ui, sans-serif');
  });
  offer(name, new XMLSerializer().serializeToString(copy), 'image/svg+xml');
}
