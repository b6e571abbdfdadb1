"use strict";
(() => {
  const text = (cell) => cell.dataset.value ?? cell.textContent.trim();

  const csv = (table) => [...table.rows].map((row) => [...row.cells].map((cell) => {
    const value = cell.tagName === "TH" ? cell.textContent.trim() : text(cell);
    const safe = /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value;  // a spreadsheet runs no name
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(",")).join("\r\n") + "\r\n";

  const sort = (table, column, header) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach((one) => one.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => text(row.cells[column]);
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [Number(x), Number(y)];
      if (x !== "" && y !== "" && !Number.isNaN(m) && !Number.isNaN(n)) return m - n;
      return x.localeCompare(y, "en", { numeric: true });
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...rows);
  };

  document.querySelectorAll(".sheet").forEach((sheet) => {
    const table = sheet.querySelector("table"), said = sheet.querySelector(".said");
    table.querySelectorAll("thead th").forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => sort(table, column, header));
    });
    sheet.querySelector(".save").addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
      link.download = `${sheet.dataset.name}.csv`;
      link.click();
      URL.revokeObjectURL(link.href);
      said.textContent = `Saved ${link.download}`;
    });
    sheet.querySelector(".copy").addEventListener("click", async () => {
      const field = document.createElement("textarea");  // from a file on disk the clipboard's own interface may be refused
      field.value = csv(table);
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      said.textContent = done ? "Copied" : "The browser does not allow copying";
    });
  });

  document.querySelectorAll(".chooser").forEach((chooser) => {
    chooser.addEventListener("change", () => {
      for (const option of chooser.options) document.getElementById(option.value).hidden = option.value !== chooser.value;
    });
  });

  const theme = document.getElementById("theme"), root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => { theme.setAttribute("aria-pressed", String(dark())); };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; show(); });
  show();

  const draw = async (plot) => {
    try {
      const spec = JSON.parse(document.getElementById(plot.dataset.spec).textContent);
      await vegaEmbed(plot, spec, { renderer: "svg", actions: false, loader: { load: () => Promise.reject(new Error("nothing is loaded")) } });
      plot.dataset.drawn = "yes";
    } catch (error) {
      plot.textContent = `This plot could not be drawn: ${error.message}`;
      console.error(error);
    }
  };
  const plots = [...document.querySelectorAll(".plot")];
  Promise.all(plots.map(draw)).then(() => { root.dataset.ready = "yes"; });
})();
