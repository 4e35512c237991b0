(() => {
  "use strict";
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--plot-" + name).trim();
  const plots = [];

  // The theme: the reader's, until the button is pressed.
  const dark = () => {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const theme = make("button", { type: "button", className: "theme" });
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.onclick = () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    name();
    plots.forEach((plot) => plot.redraw());
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    name();
    plots.forEach((plot) => plot.redraw());
  });
  name();
  document.querySelector("header").append(theme);

  // Tables: sorted by the column whose head is pressed.
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const value = (row, column) => {
      const cell = row.cells[column];
      return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
    };
    const compare = (a, b) => {
      if (typeof a === "number" && typeof b === "number") return a - b;
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what has no number comes last
      return a.localeCompare(b, undefined, { numeric: true });
    };
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      const button = make("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.onclick = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("th[aria-sort]", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = Array.from(body.rows);
        rows.sort((a, b) => compare(value(a, column), value(b, column)) * (down ? -1 : 1));
        body.append(...rows);
      };
    });
  }

  // A filter, where there are many arms.
  const first = document.querySelector("#arms table.filtered");
  if (first && first.tBodies[0].rows.length > 12) {
    const label = make("label", { className: "filter", textContent: "Show arms with " });
    const input = make("input", { type: "search", placeholder: "part of a name" });
    input.oninput = () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of all("table.filtered tbody tr")) {
        row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      }
    };
    label.append(input);
    first.closest(".scroll").before(label);
  }

  // Everything is printed, also what is folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

  // Learning curves: values under the pointer, zoom, and what the band shows.
  const show = { band: "sd", rounds: true };
  const short = (y, digits) => y == null ? "–" : Number(y.toPrecision(digits || 4)).toString();

  function draw(figure, data) {
    const xs = Array.from(new Set(data.lines.flatMap((line) => line.x))).sort((a, b) => a - b);
    const at = new Map(xs.map((x, i) => [x, i]));
    const lines = data.lines.map((line) => {
      const spread = (ys) => {
        const all = new Array(xs.length).fill(null);
        line.x.forEach((x, i) => { all[at.get(x)] = ys[i]; });
        return all;
      };
      return { name: line.name, colour: line.colour, mean: spread(line.mean), sd: spread(line.sd), half: spread(line.half), rounds: line.rounds.map(spread) };
    });
    const width = (line, i) => show.band === "sd" ? line.sd[i] : show.band === "interval" ? line.half[i] : 0;

    // How far up and down: all of what is seen from left to right.
    const range = (u) => {
      const { min, max } = u.series[0];
      let low = Infinity, high = -Infinity;
      const see = (y) => {
        if (y != null && (!data.log || y > 0)) { low = Math.min(low, y); high = Math.max(high, y); }
      };
      lines.forEach((line, n) => {
        if (!u.series[n + 1].show) return;
        xs.forEach((x, i) => {
          if (x < min || x > max || line.mean[i] == null) return;
          see(line.mean[i]);
          see(line.mean[i] - width(line, i));
          see(line.mean[i] + width(line, i));
          if (show.rounds) line.rounds.forEach((round) => see(round[i]));
        });
      });
      if (!(low <= high)) return data.log ? [0.1, 1] : [0, 1];
      if (data.log) return low < high ? [low / 1.1, high * 1.1] : [low / 2, high * 2];
      const edge = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
      return [low - edge, high + edge];
    };

    // Bands and single rounds lie behind the means.
    const behind = (u) => {
      const { ctx, bbox } = u;
      const x = (i) => u.valToPos(xs[i], "x", true);
      const y = (v) => u.valToPos(data.log ? Math.max(v, u.scales.y.min) : v, "y", true);
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      lines.forEach((line, n) => {
        if (!u.series[n + 1].show) return;
        const places = xs.map((_, i) => i).filter((i) => line.mean[i] != null);
        ctx.strokeStyle = ctx.fillStyle = colour(line.colour);
        if (show.band !== "none") {
          ctx.globalAlpha = 0.16;
          ctx.beginPath();
          places.forEach((i) => ctx.lineTo(x(i), y(line.mean[i] + width(line, i))));
          places.reverse().forEach((i) => ctx.lineTo(x(i), y(line.mean[i] - width(line, i))));
          ctx.fill();
        }
        if (show.rounds) {
          ctx.globalAlpha = 0.3;
          ctx.lineWidth = devicePixelRatio * 0.75;
          line.rounds.forEach((round) => {
            ctx.beginPath();
            round.forEach((v, i) => { if (v != null) ctx.lineTo(x(i), y(v)); });
            ctx.stroke();
          });
        }
      });
      ctx.restore();
    };

    const box = make("div", { className: "live" });
    figure.prepend(box);
    figure.classList.add("enhanced");
    const size = () => {
      const width = Math.max(200, Math.floor(box.clientWidth));
      return { width, height: Math.round(Math.min(420, Math.max(220, width * 0.5))) };
    };
    const axis = (label) => ({
      label, labelSize: 22, labelFont: "13px sans-serif", font: "12px sans-serif",
      stroke: () => colour("muted"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false },
    });
    const plot = new uPlot({
      ...size(),
      title: data.title,
      scales: { x: { time: false }, y: { distr: data.log ? 3 : 1, range } },
      axes: [{ ...axis(data.x_label), size: 28, incrs: [1, 2, 5].flatMap((n) => [n, 10 * n, 100 * n, 1000 * n, 1e4 * n, 1e5 * n]).sort((a, b) => a - b) }, { ...axis(data.y_label), size: 56, values: (u, ys) => ys.map((y) => y == null ? "" : short(y)) }],
      series: [{ label: data.x_label, value: (u, x) => x == null ? "" : String(x) }].concat(lines.map((line) => ({
        label: line.name,
        stroke: () => colour(line.colour),
        width: 2,
        spanGaps: true,
        points: { show: false },
        value: (u, y, series, i) => y == null || i == null ? "" : short(y) + " ± " + short(show.band === "interval" ? line.half[i] : line.sd[i], 2),
      }))),
      hooks: { drawAxes: [behind] },
    }, [xs, ...lines.map((line) => line.mean)], box);
    new ResizeObserver(() => { if (box.clientWidth) plot.setSize(size()); }).observe(box);
    plots.push(plot);
  }

  const charts = JSON.parse(document.getElementById("charts").textContent);
  for (const figure of all("figure[data-chart]")) draw(figure, charts[figure.dataset.chart]);

  if (plots.length) {
    const controls = make("div", { className: "controls" });
    const renew = () => plots.forEach((plot) => plot.setScale("x", { min: plot.scales.x.min, max: plot.scales.x.max }));
    const band = make("select");
    for (const [value, text] of [["sd", "one sd"], ["interval", "95 % interval of the mean"], ["none", "no band"]]) {
      band.append(make("option", { value, textContent: text }));
    }
    band.onchange = () => { show.band = band.value; renew(); };
    const rounds = make("input", { type: "checkbox", checked: true });
    rounds.onchange = () => { show.rounds = rounds.checked; renew(); };
    const bands = make("label", { textContent: "Band " }), singles = make("label", { textContent: " single rounds" });
    bands.append(band);
    singles.prepend(rounds);
    controls.append(bands, singles, make("span", { textContent: "Drag to zoom, double-click to see all; click a name to hide it." }));
    document.querySelector("figure[data-chart]").before(controls);
  }
})();
