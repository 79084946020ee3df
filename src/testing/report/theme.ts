/** Colours for light and dark. No meaning depends on colour alone: marks have shapes, and bands have names. */

export const FAMILIES = ['ended', 'frozen', 'network', 'client'] as const;
export type FaultFamily = (typeof FAMILIES)[number];

/** The family of a kind of fault: what it happens to. */
export function familyOf(kind: string): FaultFamily {
  if (/client|handler/.test(kind)) return 'client';
  if (/pause|freeze|sleep/.test(kind)) return 'frozen';
  return /partition|isolat|hole|reset|slow|latency|network/.test(kind) ? 'network' : 'ended';
}

const LIGHT = `
  --ink: #17202c; --muted: #5d6878; --faint: #8b95a3; --line: #dfe4ea; --surface: #ffffff; --raised: #f5f7f9; --edge: #17202c22;
  --acknowledged: #2563d9; --delivered: #0b8a75; --up: #b9c6d6; --node: #5d7290;
  --loss: #cf2222; --reconnect: #12833e; --good: #12833e; --bad: #cf2222;
  --ended: #d1500b; --frozen: #7a4fd0; --network: #a97400; --client: #3f6a86;`;
const DARK = `
  --ink: #e7ecf2; --muted: #9ba7b6; --faint: #75808f; --line: #2a323d; --surface: #12161c; --raised: #1a2029; --edge: #e7ecf22e;
  --acknowledged: #6ba3ff; --delivered: #3fc9ae; --up: #465467; --node: #8fa5c4;
  --loss: #ff6b62; --reconnect: #4ecb7b; --good: #4ecb7b; --bad: #ff6b62;
  --ended: #ff8a4c; --frozen: #b095ff; --network: #e2b33c; --client: #86b4d2;`;

/** Colours of a page, and of a picture that is a file of its own. */
export const THEME = `:root { color-scheme: light dark;${LIGHT}
}
@media (prefers-color-scheme: dark) { :root {${DARK}
} }`;

/** The style of the elements of the timeline. */
export const TIMELINE_STYLE = `
.timeline { font: 11px ui-sans-serif, system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; }
.timeline text { fill: var(--muted); }
.timeline .name { fill: var(--ink); font-weight: 600; }
.timeline .strong { fill: var(--ink); }
.timeline .headline { fill: var(--ink); font-size: 15px; font-weight: 650; }
.timeline .grid { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
.timeline .ack-line { fill: none; stroke: var(--acknowledged); stroke-width: 1.4; stroke-linejoin: round; }
.timeline .ack-area { fill: var(--acknowledged); opacity: 0.16; }
.timeline .ack-area.key { opacity: 0.35; }
.timeline .delivered-line { fill: none; stroke: var(--delivered); stroke-width: 1.2; stroke-dasharray: 3 2; }
.timeline .clipped { fill: var(--acknowledged); }
.timeline .field { fill: var(--raised); stroke: var(--line); }
.timeline .empty { fill: none; stroke: var(--faint); }
.timeline .up { fill: var(--up); }
.timeline .loss { fill: var(--loss); }
.timeline .reconnect { fill: var(--reconnect); }
.timeline .killed { fill: none; stroke: var(--client); stroke-width: 1.8; }
.timeline .trouble { fill: none; stroke: var(--loss); stroke-width: 1.8; }
.timeline .failed { fill: var(--loss); }
.timeline .leader { fill: var(--node); }
.timeline .leader-name { fill: var(--ink); font-size: 10px; text-anchor: middle; }
${FAMILIES.map((family) => `.timeline .${family} { fill: var(--${family}); }`).join('\n')}
.timeline .ending { stroke: var(--muted); stroke-dasharray: 2 3; }
.timeline .cursor { stroke: var(--ink); opacity: 0.5; pointer-events: none; }
.timeline .bar { opacity: 0.34; }
.timeline .band { opacity: 0.09; }
`;
