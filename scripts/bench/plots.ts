/** The plots of docs/benchmarks.md as SVG, by ECharts without a browser. */
import { init, use } from 'echarts/core';
import { LineChart } from 'echarts/charts';
import {
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
} from 'echarts/components';
import { SVGRenderer } from 'echarts/renderers';

use([LineChart, GridComponent, LegendComponent, MarkLineComponent, TitleComponent, SVGRenderer]);

/** One line of a plot. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

/** What a plot shows. */
export interface Plot {
  readonly title: string;
  readonly x: { readonly title: string; readonly log: boolean };
  readonly y: { readonly title: string; readonly log: boolean };
  readonly lines: readonly Line[];
  /** Horizontal lines with their names. */
  readonly limits?: readonly { readonly name: string; readonly value: number }[];
}

const WIDTH = 860;
const HEIGHT = 480;
/** Told apart with any colour vision (the palette of Okabe and Ito). */
const COLOURS = [
  ...['#0072b2', '#000000', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8a8a00'],
];

function short(value: number): string {
  for (const [unit, name] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const)
    if (value >= unit) return `${value / unit}${name}`;
  return String(value);
}

/** Draws a plot. */
export function draw({ title, x, y, lines, limits = [] }: Plot): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  const axis = ({ title: name, log }: Plot['x'], gap: number) => ({
    type: log ? ('log' as const) : ('value' as const),
    name,
    nameLocation: 'middle' as const,
    nameGap: gap,
    splitLine: { show: true, lineStyle: { color: '#e5e5e5' } },
    axisLabel: { formatter: short },
  });
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    color: COLOURS,
    title: { text: title, left: 'center', textStyle: { fontSize: 15 } },
    legend: { bottom: 4, type: 'plain' },
    grid: { left: 70, right: limits.length > 0 ? 210 : 30, top: 44, bottom: 84 },
    xAxis: axis(x, 28),
    yAxis: axis(y, 48),
    series: lines.map(({ name, points }, i) => ({
      type: 'line' as const,
      name,
      data: points.map(([a, b]) => [a, b]),
      symbolSize: 7,
      ...(i === 0 && {
        markLine: {
          silent: true,
          symbol: 'none',
          lineStyle: { color: '#777777', type: 'dashed' as const },
          data: limits.map((limit) => ({
            name: limit.name,
            yAxis: limit.value,
            label: { formatter: limit.name, position: 'end' as const, color: '#555555' },
          })),
        },
      }),
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}
