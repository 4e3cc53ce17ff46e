// The chart of executions, stacked by outcome, and the same figures as a table.
"use strict";
(() => {
  const COLOURS = {
    light: { succeeded: "#15803d", failed: "#dc2626", limit: "#d97706", rejected: "#7c3aed", cancelled: "#6b7280", "platform error": "#111827", open: "#2563eb" },
    dark: { succeeded: "#4ade80", failed: "#f87171", limit: "#fbbf24", rejected: "#a78bfa", cancelled: "#9ca3af", "platform error": "#f9fafb", open: "#60a5fa" },
  };
  const source = document.getElementById("chart-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const root = document.documentElement;
  let chart;
  const draw = () => {
    const dark = root.classList.contains("dark");
    const colours = COLOURS[dark ? "dark" : "light"];
    const words = dark ? "#d1d5db" : "#374151";
    chart?.destroy();
    chart = new Chart(document.getElementById("chart"), {
      type: "bar",
      data: {
        labels: data.labels,
        datasets: data.series.map(({ name, values }) => ({ label: name, data: values, backgroundColor: colours[name], borderWidth: 0 })),
      },
      options: {
        animation: false, maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { stacked: true, grid: { display: false }, ticks: { color: words, maxRotation: 0, autoSkip: true } },
          y: { stacked: true, beginAtZero: true, grid: { color: dark ? "#374151" : "#e5e7eb" }, ticks: { color: words, precision: 0 } },
        },
        plugins: { legend: { position: "bottom", labels: { color: words, boxWidth: 12 } } },
      },
    });
  };
  window.addEventListener("load", draw);
  new MutationObserver(() => chart && draw()).observe(root, { attributeFilter: ["class"] });
  const table = document.getElementById("chart-table");
  data.labels.forEach((label, slot) => {
    const numbers = data.series.map(({ values }) => values[slot]);
    if (!numbers.some(Boolean)) return;
    const row = table.insertRow();
    row.insertCell().textContent = label;
    for (const number of numbers) row.insertCell().textContent = number;
  });
})();
