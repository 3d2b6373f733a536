// tweedie: trains, samples and evaluates diffusion models.
#include <cstdio>
#include <cstring>

#include "cli.h"
#include "tweedie/core/heap.h"
#include "tweedie/kernels/instruction_set.h"

namespace {

using tweedie::Error;

int report(const std::string& message, int code) {
  std::string line = message.substr(0, message.find('\n'));
  std::fprintf(stderr, "tweedie: %s\n", line.c_str());
  return code;
}

// 0 if all of standard output arrived.
int flushed() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return 0;
  return report(std::string("standard output: ") + std::strerror(errno), 1);
}

std::vector<std::string> flags_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// What is expected of an option whose words CLI11 could not read as numbers; "" for other mistakes.
std::string misread(const CLI::App& verb, const CLI::ParseError& error) {
  for (const CLI::Option* option : verb.get_options()) {
    const CLI::ConversionError of_this(option->get_name(), option->results());
    if (std::strcmp(of_this.what(), error.what()) != 0) continue;
    const std::string type = option->get_type_name();
    const bool natural = type.starts_with("UINT"), whole = natural || type.starts_with("INT");
    if (!whole && !type.starts_with("FLOAT")) return "";
    const bool list = option->get_items_expected_max() > 1;
    return tweedie::formatted("{} {}: expected {}{}{}{}", option->get_name(),
                              fmt::join(option->results(), ","), list ? "" : "a ",
                              whole ? "whole number" : "number", list ? "s" : "",
                              natural ? " from 0 on" : "");
  }
  return "";
}

// CLI11's own messages, as one line that names the value and what is known.
int report_usage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* verb = app.get_subcommands().empty() ? nullptr : app.get_subcommands().front();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) ||
      dynamic_cast<const CLI::RequiredError*>(&error)) {
    const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
    std::vector<std::string> verbs;
    for (const CLI::App* known : app.get_subcommands({})) verbs.push_back(known->get_name());
    if (!verb && extras.empty())
      return report(
          tweedie::formatted("no verb given; known: {} (tweedie --help)", fmt::join(verbs, ", ")),
          2);
    if (!verb) return report(tweedie::unknown_message("verb", extras.front(), verbs), 2);
    if (!extras.empty() && extras.front().rfind("-", 0) == 0)
      return report(tweedie::unknown_message("flag", extras.front(), flags_of(*verb)), 2);
    if (!extras.empty())
      return report(tweedie::formatted("{}: unexpected argument '{}' (tweedie {} --help)",
                                       verb->get_name(), extras.front(), verb->get_name()),
                    2);
  }
  if (const std::string line = verb ? misread(*verb, error) : ""; !line.empty())
    return report(line, 2);
  return report((verb ? verb->get_name() + ": " : "") + error.what(), 2);
}

}  // namespace

int main(int argc, char** argv) {
  tweedie::keep_freed_memory();
  CLI::App app("Trains, samples and evaluates diffusion models.", "tweedie");
  app.set_version_flag("--version", TWEEDIE_VERSION);
  app.footer(tweedie::formatted("TWEEDIE_ISA={} limits the instructions of the CPU that are used.",
                                fmt::join(tweedie::kernels::instruction_sets(), "|")));
  app.require_subcommand(1);
  tweedie::cli::add_train(app);
  tweedie::cli::add_sample(app);
  tweedie::cli::add_evaluate(app);
  tweedie::cli::add_invert(app);
  tweedie::cli::add_interpolate(app);
  tweedie::cli::add_info(app);
  tweedie::cli::add_list(app);
  tweedie::cli::add_plot(app);
  tweedie::cli::interrupts();
  try {
    tweedie::kernels::limit_instruction_set_from_environment();
    app.parse(argc, argv);
    return flushed();
  } catch (const CLI::CallForHelp&) {
    const CLI::App* verb = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
    std::fputs(verb->help().c_str(), stdout);
    return flushed();
  } catch (const CLI::CallForVersion&) {
    std::puts(TWEEDIE_VERSION);
    return flushed();
  } catch (const CLI::ParseError& e) {
    return report_usage(app, e);
  } catch (const Error& e) {
    const int code = e.kind() == Error::Kind::kUser     ? 2
                     : e.kind() == Error::Kind::kSystem ? 1
                                                        : 130;
    return report(e.what(), code);
  } catch (const std::bad_alloc&) {
    return report("out of memory; a smaller --batch needs less", 1);
  } catch (const std::exception& e) {
    return report(e.what(), 1);
  }
}
