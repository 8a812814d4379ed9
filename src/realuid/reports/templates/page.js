"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// the values of all lines where the pointer is
for (const chart of all(".chart")) {
  const svg = chart.querySelector("svg"), said = chart.querySelector("output"), lines = all("polyline[data-values]", chart);
  if (!said || !lines.length) continue;
  const series = lines.filter(l => !l.classList.contains("grey")).map(line => ({
    name: line.dataset.name, values: line.dataset.values.split(" ").map(p => p.split(",").map(Number)),
    places: line.getAttribute("points").split(" ").map(p => p.split(",").map(Number)) })).filter(s => s.values.length && s.places[0].length == 2);
  if (!series.length) continue;
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor"); cursor.setAttribute("y1", 10); cursor.setAttribute("y2", 260); cursor.style.display = "none"; svg.append(cursor);
  const near = (s, x) => s.places.reduce((best, p, i) => Math.abs(p[0] - x) < Math.abs(s.places[best][0] - x) ? i : best, 0);
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const at = series.map(s => near(s, x)), nearest = series.reduce((b, s, i) => Math.abs(s.places[at[i]][0] - x) < Math.abs(series[b].places[at[b]][0] - x) ? i : b, 0);
    const place = series[nearest].places[at[nearest]][0], value = series[nearest].values[at[nearest]][0];
    cursor.setAttribute("x1", place); cursor.setAttribute("x2", place); cursor.style.display = "";
    said.textContent = value.toLocaleString() + ": " + series.map((s, i) => s.name + " " + s.values[at[i]][1]).join(", ");
  });
  svg.addEventListener("pointerleave", () => { cursor.style.display = "none"; said.textContent = ""; });
}

// two grids of the same noise, one over the other
for (const box of all("[data-compare]")) {
  const [under, over] = all("img", box), [left, right] = all("select", box), cut = box.querySelector("input[type=range]");
  const grids = Object.fromEntries(all("[data-grid] img").map(img => [img.dataset.name, img.src]));
  const show = () => { under.src = grids[left.value]; over.src = grids[right.value]; under.alt = left.value; over.alt = right.value; };
  const move = share => { cut.value = share; box.style.setProperty("--cut", share + "%"); over.style.clipPath = `inset(0 0 0 ${share}%)`; };
  left.addEventListener("change", show); right.addEventListener("change", show); cut.addEventListener("input", () => move(cut.value));
  box.querySelector(".compare").addEventListener("pointermove", event => {
    const area = event.currentTarget.getBoundingClientRect();
    move(Math.min(100, Math.max(0, (event.clientX - area.left) / area.width * 100)));
  });
  show(); move(50);
}

// the tile under the pointer, from every grid
for (const strip of all(".tiles")) {
  const images = all("[data-grid] img"), columns = Number(strip.dataset.columns), rows = Number(strip.dataset.rows);
  const canvases = images.map(img => {
    const cell = document.createElement("div"), canvas = document.createElement("canvas");
    canvas.width = canvas.height = 112; cell.append(canvas, img.dataset.name); strip.append(cell);
    return canvas;
  });
  const show = (column, row) => images.forEach((img, i) => {
    const gap = 2, w = (img.naturalWidth - gap) / columns, h = (img.naturalHeight - gap) / rows, context = canvases[i].getContext("2d");
    if (!w || !h) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(img, gap + column * w, gap + row * h, w - gap, h - gap, 0, 0, 112, 112);
  });
  for (const img of [...images, ...all("[data-compare] img")]) img.addEventListener("pointermove", event => {
    const area = img.getBoundingClientRect();
    show(Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - area.left) / area.width * columns))),
         Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - area.top) / area.height * rows))));
  });
  const first = () => show(0, 0);
  images.length && images[images.length - 1].complete ? first() : window.addEventListener("load", first);
}

// pictures over the time of a training
for (const film of all("[data-film]")) {
  const frames = all("img", film), at = film.querySelector("input[type=range]"), said = film.querySelector("output");
  const show = () => { frames.forEach((frame, i) => { frame.hidden = i != at.value; }); said.textContent = frames[at.value].alt; };
  at.addEventListener("input", show); show();
}

// a page that grows is read again, unless somebody looks at an earlier picture
if (document.body.dataset.grows || document.querySelector("[data-grows]")) setInterval(() => {
  const films = all("[data-film] input[type=range]");
  if (!document.hidden && films.every(film => film.value == film.max)) location.reload();
}, 20000);
