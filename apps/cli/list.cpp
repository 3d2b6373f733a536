// tweedie list: what can be named.
#include <map>

#include "cli.h"
#include "tweedie/io/files.h"
#include "tweedie/pipeline/config.h"
#include "tweedie/pipeline/model_folder.h"
#include "tweedie/process/schedule.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie::cli {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

std::vector<FieldDoc> fields_of_config() {
  std::vector<FieldDoc> docs;
  describe_fields(Config{}, docs);
  return docs;
}

Entries keys() {
  Entries entries;
  for (const FieldDoc& doc : fields_of_config()) {
    std::string about = doc.doc;
    if (!doc.choices.empty()) about += formatted("; one of {}", fmt::join(doc.choices, ", "));
    entries.emplace_back(doc.path, about + " [" + doc.value + "]");
  }
  return entries;
}

// A list, since networks of different types have keys of the same name.
Json json_of_keys() {
  Json list = Json::array();
  for (const FieldDoc& doc : fields_of_config()) {
    Json entry = {{"key", doc.path}, {"about", doc.doc}, {"default", Json::parse(doc.value)}};
    if (!doc.kind.empty()) entry["model_type"] = doc.kind;
    if (!doc.choices.empty()) entry["choices"] = doc.choices;
    list.push_back(std::move(entry));
  }
  return list;
}

Entries configs() {
  Entries entries;
  for (const std::string& name : known_configs())
    entries.emplace_back(name, read_json(find_config(name)).value("about", ""));
  return entries;
}

Entries named(const std::vector<std::string>& names) {
  Entries entries;
  for (const std::string& name : names) entries.emplace_back(name, "");
  return entries;
}

template <class Info>
Entries described(const std::vector<Info>& list) {
  Entries entries;
  for (const Info& info : list) entries.emplace_back(info.name, info.about);
  return entries;
}

const std::map<std::string, Entries (*)()>& lists() {
  static const std::map<std::string, Entries (*)()> all = {
      {"samplers", [] { return described(samplers()); }},
      {"schedules",
       [] {
         Entries entries = described(schedules());
         entries.emplace_back("learned", "trained with the network, kept as trained_betas (VDM)");
         entries.emplace_back("edm",
                              "process.path edm: sigma_min..sigma_max by Karras (EDM Eq. 5)");
         entries.emplace_back("ve",
                              "process.path edm, sigma_schedule exponential, sigma 0.01..50: grows "
                              "geometrically (SDE App. C)");
         entries.emplace_back("flow",
                              "process.path flow: (1 - tau) x_0 + tau eps, with shift (FM; SD3)");
         return entries;
       }},
      {"models", [] { return named(known_models()); }},
      {"configs", configs},
      {"keys", keys},
      {"data", [] {
         return Entries{
             {"fashion-mnist", "70,000 grey 28x28 garments in 10 classes"},
             {"idx:DIR", "MNIST's format, gz or not"},
             {"cifar10:DIR", "CIFAR-10, the binary version"},
             {"folder:DIR", "PNG, JPEG, WebP; the class is the first folder level"},
             {"shapes[:SIZE]", "procedural shapes in colour; needs nothing on disk"},
             {"points:NAME", "points in the plane: moons, rings or mixture, a known density"},
             {"points:FILE.csv", "a point a line, of any number of columns"}};
       }}};
  return all;
}

}  // namespace

void add_list(CLI::App& app) {
  std::vector<std::string> kinds;
  for (const auto& [kind, unused] : lists()) kinds.push_back(kind);
  CLI::App& verb =
      *app.add_subcommand("list", formatted("what can be named: {}", fmt::join(kinds, ", ")));
  auto what = std::make_shared<std::string>();
  verb.add_option("what", *what, formatted("{}", fmt::join(kinds, ", ")))->required();
  add_common(verb);
  verb.callback([what, kinds] {
    apply_common();
    const auto found = lists().find(*what);
    if (found == lists().end()) fail_unknown("list", *what, kinds);
    if (common.json && *what == "keys") return print_json({{*what, json_of_keys()}});
    const Entries entries = found->second();
    if (common.json) {
      Json json = Json::object();
      for (const auto& [name, about] : entries) json[name] = about;
      return print_json({{*what, json}});
    }
    size_t width = 0;
    for (const auto& entry : entries) width = std::max(width, entry.first.size());
    for (const auto& [name, about] : entries)
      print(about.empty() ? name : formatted("{:<{}}  {}", name, width, about));
  });
}

}  // namespace tweedie::cli
