// Copyright (c) 2026, liveml.vsphere contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// What a reader gets of the page as it is shown now: each piece of text with its size, place and contrast.
() => {
  const channels = (colour) => {
    const parts = colour.match(/[\d.]+/g).map(Number);
    return [...parts.slice(0, 3), parts.length > 3 ? parts[3] : 1];
  };
  const over = (top, bottom) => top.slice(0, 3).map((c, i) => c * top[3] + bottom[i] * (1 - top[3]));
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(channels(getComputedStyle(e).backgroundColor));
    }
    // What the browser paints when a page paints nothing, as on paper.
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const hidden = (element) => element.closest("thead") && getComputedStyle(element.closest("thead")).position === "absolute";

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !shown(element) || hidden(element)) continue;
    const svg = element.closest("svg");
    const style = getComputedStyle(element);
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const below = background(svg ? svg.parentElement : element);
    const colour = over(channels(svg ? style.fill : style.color), below);
    const [light, dark] = [luminance(colour), luminance(below)].sort((a, b) => b - a);
    texts.push({
      text: node.data.trim().slice(0, 60),
      figure: Boolean(svg),
      size: parseFloat(style.fontSize) * scale,
      left: box.left,
      right: box.right,
      area: box.width * box.height,
      contrast: (light + 0.05) / (dark + 0.05),
    });
  }

  const figures = [...document.querySelectorAll("figure svg")].filter(shown).map((svg) => {
    const box = svg.getBoundingClientRect();
    const count = (name) => [...svg.querySelectorAll(`.${name}`)].filter((g) => {
      const drawn = g.getBoundingClientRect();
      return drawn.width > 0 && drawn.height > 0 && drawn.left >= box.left - 1 && drawn.right <= box.right + 1;
    }).length;
    return {
      width: box.width,
      height: box.height,
      bars: count("bar"),
      curves: count("curve"),
      marks: count("stall-mark"),
      colours: [...new Set([...svg.querySelectorAll(".bar path, .curve path")].map((p) => getComputedStyle(p).stroke))],
    };
  });
  return {
    width: document.documentElement.scrollWidth,
    viewport: document.documentElement.clientWidth,
    background: getComputedStyle(document.body).backgroundColor,
    texts,
    figures,
  };
}
