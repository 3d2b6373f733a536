#include "tweedie/pipeline/chart_page.h"

#include <cairo.h>

#include <cmath>

#include "tweedie/pipeline/pen.h"

namespace tweedie {
namespace {

constexpr double kMargin = 16, kHead = 66, kNames = 140, kGap = 4, kCaptions = 30;

// Where things are on a page.
struct Layout {
  double width = 0, height = 0;
  double strips_top = 0, factor = 1;       // the pictures' enlargement
  double cell_width = 0, cell_height = 0;  // of a picture with its gap
};

Layout layout_of(const Page& page) {
  const Chart& panel = page.panels.at(0);
  const int64_t rows = (static_cast<int64_t>(page.panels.size()) + page.columns - 1) / page.columns;
  Layout at{.width = static_cast<double>(page.columns) * panel.width};
  at.strips_top = kHead + static_cast<double>(rows) * panel.height + kMargin;
  at.height = at.strips_top;
  if (page.strips.empty()) return at;
  const Image& first = page.strips[0].pictures.at(0);
  const double count = static_cast<double>(page.strips[0].pictures.size());
  at.factor = ((at.width - kNames - 2 * kMargin) / count - kGap) / first.width;
  if (at.factor > 1) at.factor = std::floor(at.factor);  // every pixel of one size
  at.cell_width = at.factor * first.width + kGap;
  at.cell_height = at.factor * first.height + kGap;
  at.height += static_cast<double>(page.strips.size()) * at.cell_height + kCaptions;
  return at;
}

class PagePainter : public Pen {
 public:
  PagePainter(cairo_t* cairo, const Page& page, const Layout& layout)
      : Pen(cairo), page_(page), at_(layout) {}

  void paint() {
    colour(kInk);
    text(kMargin, 26, page_.title, 17, 0);
    legend();
    for (int i = 0; i < static_cast<int>(page_.panels.size()); ++i) {
      const Chart& panel = page_.panels[i];
      cairo_save(c_);
      cairo_translate(c_, i % page_.columns * panel.width,
                      kHead + i / page_.columns * panel.height);
      paint_chart(c_, panel);
      cairo_restore(c_);
    }
    strips();
  }

 private:
  void legend() {
    double x = kMargin;
    const std::vector<Chart::Series>& all = page_.panels.at(0).series;
    for (size_t i = 0; i < all.size(); ++i) {
      series(i, 3);
      line(x, 46, x + 20, 46);
      colour(kInk);
      x += 26 + text(x + 26, 50, all[i].name, 12, 0) + 20;
    }
    plain(1);
  }

  void strips() {
    const double left = kMargin + kNames;
    double y = at_.strips_top;
    for (const Page::Strip& strip : page_.strips) {
      colour(kInk);
      text(left - 10, y + at_.cell_height / 2 + 4, strip.name, 12, 1);
      for (size_t i = 0; i < strip.pictures.size(); ++i)
        picture(left + static_cast<double>(i) * at_.cell_width, y, at_.factor, at_.factor,
                strip.pictures[i]);
      y += at_.cell_height;
    }
    colour(kInk);
    for (size_t i = 0; i < page_.captions.size(); ++i)
      text(left + (static_cast<double>(i) + .5) * at_.cell_width - kGap / 2, y + 12,
           page_.captions[i], 11, .5);
  }

  const Page& page_;
  const Layout& at_;
};

}  // namespace

void write_page(const std::string& file, const Page& page) {
  const Layout layout = layout_of(page);
  write_drawing(file, layout.width, layout.height,
                [&](cairo_t* cairo) { PagePainter(cairo, page, layout).paint(); });
}

}  // namespace tweedie
