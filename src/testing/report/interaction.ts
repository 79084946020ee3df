/** The script of the page: a line under the mouse, and the figures of that moment. The page works without it. */
import type { ReportData } from './data.js';
import { formatCount, formatDuration } from './format.js';
import { describeFault, timelineRange } from './timeline.js';

/** The data of the script, in words already. Pure. */
export function readings(data: ReportData): object {
  const { series, duration, verdict } = data;
  const [left, right] = timelineRange();
  const rate = (count: number | undefined, share = 1): string =>
    `${formatCount(((count ?? 0) * 1000) / series.interval / share)}/s`;
  const latency = (ms: number | null | undefined): string => (typeof ms === 'number' ? formatDuration(ms) : '–');
  return {
    left,
    right,
    duration,
    interval: series.interval,
    names: ['acknowledged', 'delivered', 'ack, median', 'ack, slowest', 'delivery, slowest'],
    buckets: series.acknowledged.map((count, i) => [
      rate(count),
      rate(series.delivered[i], Math.max(verdict.subscriptions.length, 1)),
      latency(series.ackLatency.p50[i]),
      latency(series.ackLatency.max[i]),
      latency(series.deliveryLatency.max[i]),
    ]),
    faults: data.faults.map((fault) => [fault.at, fault.until ?? fault.at + series.interval, describeFault(fault)]),
  };
}

/** JSON that cannot end the HTML element in which it stands. */
export function embeddable(value: object): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

/** The script as text. It runs in the browser, and not in this process. */
export const INTERACTION = `
(() => {
  const hints = () => {
    for (const hint of document.querySelectorAll('.hint')) {
      const { scrollWidth, clientWidth } = hint.nextElementSibling;
      hint.hidden = scrollWidth <= clientWidth + 1;
    }
  };
  addEventListener('resize', hints);
  hints();
  const svg = document.querySelector('svg.timeline');
  const readout = document.querySelector('.readout');
  const data = JSON.parse(document.getElementById('readings').textContent);
  const view = svg.viewBox.baseVal;
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  line.setAttribute('class', 'cursor');
  line.setAttribute('y1', 0);
  line.setAttribute('y2', view.height - 40);
  const hide = () => { line.remove(); readout.hidden = true; };
  svg.addEventListener('mouseleave', hide);
  svg.addEventListener('mousemove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * view.width) / box.width;
    const at = ((x - data.left) / (data.right - data.left)) * data.duration;
    const bucket = data.buckets[Math.floor(at / data.interval)];
    if (at < 0 || !bucket) return hide();
    const seconds = at / 1000;
    const lines = [Math.floor(seconds / 60) + ':' + (seconds % 60).toFixed(1).padStart(4, '0')];
    data.names.forEach((name, i) => lines.push(name.padEnd(18) + bucket[i].padStart(9)));
    for (const [from, to, text] of data.faults) if (at >= from && at <= to) lines.push(text);
    readout.textContent = lines.join('\\n');
    readout.hidden = false;
    line.setAttribute('x1', x);
    line.setAttribute('x2', x);
    svg.append(line);
    const parent = readout.parentElement.getBoundingClientRect();
    const right = event.clientX - parent.left + 16;
    const fits = right + readout.offsetWidth <= parent.width;
    readout.style.left = (fits ? right : Math.max(right - 32 - readout.offsetWidth, 0)) + 'px';
    readout.style.top = event.clientY - parent.top + 18 + 'px';
  });
})();
`;
