(() => {
  "use strict";
  const drawings = JSON.parse(document.getElementById("drawings").textContent);
  const root = document.documentElement;
  // The text width of A4 within the margins of report.css.
  const PAPER_WIDTH = 680;
  const config = {
    responsive: true,
    displaylogo: false,
    // Named one by one: the default bar has a button that uploads the data.
    modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]],
    plotlyServerURL: "",
  };

  function coloured(plot) {
    const style = getComputedStyle(root);
    const colour = (_, name) => style.getPropertyValue(name).trim();
    return JSON.parse(JSON.stringify(plot), (_, value) =>
      typeof value === "string" ? value.replace(/var\((--[a-z0-9]+)\)/g, colour) : value,
    );
  }

  function draw(width) {
    for (const { name, plot } of drawings) {
      const place = document.getElementById("plot-" + name);
      const { data, layout } = coloured(plot);
      Plotly.react(place, data, { ...layout, width, autosize: width === undefined }, config);
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  addEventListener("beforeprint", () => {
    root.classList.add("on-paper");
    draw(PAPER_WIDTH);
  });
  addEventListener("afterprint", () => {
    root.classList.remove("on-paper");
    draw();
  });
})();
