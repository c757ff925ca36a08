#include "app/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "app/commands.h"
#include "app/deploy_optimized.h"
#include "app/serve.h"
#include "app/version.h"
#include "base/rfc3339.h"
#include "base/units.h"
#include "domain/printed.h"
#include "app/optimize_job.h"
#include "optimize/recipe.h"
#include "worker/zygote.h"

namespace mayfly::app {
namespace {

enum Exit { kDone = 0, kFailed = 1, kUsage = 2, kUnreachable = 3, kNotFound = 4 };

constexpr const char* kDefaultUrl = "http://127.0.0.1:8080";

// What is typed, as values; CLI11 fills it in while it parses.
struct Typed {
  std::string url;
  bool json = false;
  ServeOptions serve;
  DeployOptions deploy;
  OptimizeOptions deploy_optimize;
  InvokeOptions invoke;
  LogsOptions logs;
  DescribeOptions describe;
  UsageOptions usage;
  AliasOptions alias;
  DeleteOptions remove;
  ScaleOptions scale;
  RecordOptions record;
  HistoryOptions history;
  StopOptions stop_optimize;
  BenchOptions bench;
  OptimizeOptions optimize;
  NewOptions scaffold;
  DevOptions dev;
  LayerOptions layer;
  std::string function, rollback_alias = "live";
};

using Command = std::function<Result<void>(const Context&)>;

// Of values that are wrong whatever node is asked: said before one is, as wrong usage.
template <class Reads>
CLI::Validator fits(Reads reads) {
  return CLI::Validator([reads](const std::string& text) { return reads(text) ? std::string() : reads(text).error().message; }, "");
}

std::string no_word(const std::string& text, const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : word == words.back() ? " or " : ", ") + word;
  const auto near = nearest(text, words);
  return "'" + printable(text.substr(0, 64)) + "' is none of its words" + (near.empty() ? "" : ", did you mean '" + near.front() + "'?") +
         ": write " + all;
}

CLI::Validator one_of(std::vector<std::string> words) {
  return CLI::Validator([words = std::move(words)](const std::string& text) {
    return std::ranges::find(words, text) != words.end() ? std::string() : no_word(text, words);
  }, "");
}

// Other languages' names of levels are read as well.
CLI::Validator a_level() {
  return CLI::Validator([](const std::string& text) {
    return domain::read_level(text) != domain::Level::none ? std::string()
                                                              : no_word(text, {"trace", "debug", "info", "warn", "error", "fatal"});
  }, "");
}

CLI::Validator a_time() {
  return CLI::Validator([](const std::string& text) {
    return parse_duration(text) || parse_rfc3339(text) ? std::string()
        : "'" + printable(text.substr(0, 64)) + "' is neither a duration back from now, like 1h, nor a time, like 2026-11-24T05:46:03Z";
  }, "");
}

// Declares commands on the parser, and keeps which one was chosen.
class Commands {
 public:
  Commands(CLI::App& app, Typed& typed) : app_(app), typed_(typed) {}

  void declare() {
    declare_deploy();
    declare_beginnings();
    declare_calls();
    declare_views();
    declare_changes();
    declare_layers();
    declare_bench();
    declare_optimize();
  }

  Command chosen;
  std::string function;  // what the chosen command was about, for a suggestion

 private:
  CLI::App& add(const char* name, const char* does, const char* example, Command run, const std::string* about = nullptr) {
    CLI::App& command = *app_.add_subcommand(name, does);
    command.footer("Example:\n  " + std::string(example));
    command.callback([this, run = std::move(run), about] {
      chosen = run;
      if (about) function = *about;
    });
    return command;
  }

  void declare_deploy() {
    auto& o = typed_.deploy;
    auto& c = add("deploy", "Deploy a model file, a folder with function.yaml or code, or a container's image",
                  "mayfly deploy fraud.onnx --name fraud --max 10",
                  [this, &o](const Context& context) {
                    if (typed_.deploy_optimize.recipes.empty()) return deploy(context, o);
                    return deploy_optimized(context, o, typed_.deploy_optimize);
                  });
    c.add_option("PATH", o.path,
                 "A model file, a folder with function.yaml and the model or the code, a SAM template, oci:IMAGE, or docker://IMAGE")
        ->required();
    c.add_option("--name", o.name, "The function's name; the manifest's, else the model file's or the code's folder's, if not given");
    c.add_option("--runtime", o.overrides.runtime, "What runs the folder's code, like python3.11");
    c.add_option("--handler", o.overrides.handler, "The function that the runtime calls, like app.handler; of runtime http its command");
    c.add_option("--target", o.overrides.target, "The function that a functions framework calls");
    c.add_option("--signature", o.overrides.signature, "What that function takes: http or cloudevent")
        ->check(one_of({"http", "cloudevent", "event"}));
    c.add_option("--min", o.overrides.min, "Instances kept always")->check(CLI::Range(0, 1000));
    c.add_option("--max", o.overrides.max, "Instances at most")->check(CLI::Range(1, 1000));
    c.add_option("--memory", o.overrides.memory, "Limit of one instance's own memory, like 512MiB")->check(fits(parse_bytes));
    c.add_option("--timeout", o.overrides.timeout, "Limit of one call, like 30s")->check(fits(parse_duration));
    c.add_option("--layer", o.overrides.layers, "A layer of code, NAME:VERSION or NAME for the newest; may be said five times");
    auto* alias = c.add_option("--alias", o.alias, "The alias that is moved to the new version")->capture_default_str();
    auto* no_alias = c.add_flag("--no-alias", o.no_alias, "Move no alias: the version takes no traffic until one names it");
    no_alias->excludes(alias);
    c.add_flag("--force", o.force, "Make a new version even where nothing is new");
    auto* no_wait = c.add_flag("--no-wait", o.no_wait, "Return once it serves, before it is compiled and tuned");
    auto& p = typed_.deploy_optimize;
    auto* optimize = c.add_option("--optimize", p.recipes,
                                  "The node makes it smaller in the background, by auto or a recipe; the alias moves if the gate passes");
    optimize->excludes(no_alias)->excludes(no_wait);
    c.add_option("--goal", p.goal, "Of --optimize: latency, size or cost")
        ->needs(optimize)
        ->check(one_of({"latency", "size", "cost"}));
    c.add_option("--data", p.data, "Of --optimize: samples; made up if not given")->needs(optimize);
    c.add_option("--accuracy-drop-max", p.accuracy_drop_max, "Of --optimize: how much less often it may be right")
        ->needs(optimize);
    c.add_option("--same-min", p.same_min, "Of --optimize, without labels: how many answers must be the same")->needs(optimize);
    c.add_option("--canary", p.canary, "Of --optimize: the share of the calls that the smaller one gets, like 10%")->needs(optimize);
    c.add_option("--time-max", p.time_max, "Of --optimize: for all of it")->needs(optimize)->check(fits(parse_duration));
    c.add_flag("--wait", p.wait, "Of --optimize: follow the node's search until it ends, and show what it found")->needs(optimize);
  }

  void declare_beginnings() {
    auto& n = typed_.scaffold;
    auto& c = add("new", "Make a folder with a function to begin with", "mayfly new --template python hello && mayfly deploy hello",
                  [&n](const Context& context) { return scaffold(context, n); });
    c.add_option("FOLDER", n.folder, "The folder to make; its name is the function's");
    c.add_option("-t,--template", n.name, "Which; --list shows them")->capture_default_str();
    c.add_flag("--list", n.list, "List the templates");
    auto& d = typed_.dev;
    auto& e = add("dev", "Serve a folder while it is worked on: deploys at every change, shows the log", "mayfly dev hello",
                  [&d](const Context& context) { return dev(context, d); });
    e.add_option("FOLDER", d.folder, "A folder with function.yaml or code")->required();
    auto* node = e.add_option("--node", d.node, "A node that runs; one of its own if not given, with its data in FOLDER/.mayfly-dev");
    e.add_option("--listen", d.listen, "Where its own node listens; a free port if not given")->excludes(node);
    e.add_option("--debug", d.debug, "Start code with a debugger, which is reached at this port of 127.0.0.1; any free one if not given")
        ->expected(0, 1)->default_str("")->check(CLI::Range(0, 65535))->excludes(node);
    e.add_option("--name", d.name, "The function's name, as deploy has it");
    e.add_option("--runtime", d.overrides.runtime, "What runs the folder's code, like python3.11");
    e.add_option("--handler", d.overrides.handler, "The function that the runtime calls, like app.handler");
  }

  void declare_calls() {
    auto& i = typed_.invoke;
    auto& c = add(
        "invoke", "Call a function",
        R"(mayfly invoke fraud --data '{"input": [[0.1, 0.2]]}'   or   mayfly invoke fraud:2 --data @row.json)",
        [&i](const Context& context) { return invoke(context, i); }, &i.function);
    c.add_option("FUNCTION", i.function, "NAME, NAME:ALIAS or NAME:VERSION")->required();
    c.add_option("--data", i.data, "The input: JSON, @FILE, or @- for standard input")->required();
    c.add_option("--timeout", i.timeout, "Give up after this, like 500ms");
    c.add_flag("--tail", i.tail, "Show on stderr what the function printed");
    c.add_flag("--event", i.event, "Wait for no answer: the node keeps the call, and runs it until it has an outcome");
    c.add_flag("--times", i.times, "Say on stderr which version answered and how long it took");
    auto& l = typed_.logs;
    auto& d = add(
        "logs", "Show the log of a function, or of all", "mayfly logs fraud --follow",
        [&l](const Context& context) { return logs(context, l); }, &l.function);
    d.add_option("FUNCTION", l.function, "NAME; all functions if not given");
    d.add_flag("-f,--follow", l.follow, "Go on with new lines until interrupted");
    d.add_option("--request", l.request, "Of this call alone: its X-Request-Id");
    d.add_option("--level", l.level, "At least as grave: trace, debug, info, warn, error, fatal")->check(a_level());
    d.add_option("--version", l.version, "Of this version alone")->check(CLI::Range(1, 1000000000));
    d.add_option("--since", l.since, "Not older: 5m, or a time like 2026-11-24T05:46:03Z")->check(a_time());
    d.add_option("--count", l.count, "Lines at most")->capture_default_str()->check(CLI::Range(0, 10000));
  }

  void declare_views() {
    add("list", "List the functions", "mayfly list", [](const Context& context) { return list(context); });
    auto& shown = typed_.describe;
    auto& d = add(
        "describe", "Show all about a function: versions, aliases, instances, decisions, starts", "mayfly describe fraud",
        [&shown](const Context& context) { return describe(context, shown); }, &shown.function);
    d.add_option("FUNCTION", shown.function, "NAME")->required();
    d.add_flag("--dependencies", shown.dependencies, "Show what was installed for its newest version instead: names, versions, hashes");
    about_one("versions", "List the versions of a function", "mayfly versions fraud", versions);
    add(
        "instances", "List what runs now", "mayfly instances",
        [this](const Context& context) { return instances(context, typed_.function); }, &typed_.function)
        .add_option("FUNCTION", typed_.function, "NAME; all functions if not given");
    add("node", "Show the node itself", "mayfly node", [](const Context& context) { return node(context); });
    auto& u = typed_.usage;
    auto& c = add(
        "usage", "Show what was used and what it costs", "mayfly usage fraud --since 1h",
        [&u](const Context& context) { return usage(context, u); }, &u.function);
    c.add_option("FUNCTION", u.function, "NAME; all functions if not given");
    c.add_option("--since", u.since, "A duration back from now, like 1h, or a time, like 2026-11-24T05:46:03Z")
        ->capture_default_str()
        ->check(a_time());
    c.add_option("--until", u.until, "The same; now if not given");
  }

  void about_one(const char* name, const char* does, const char* example, Result<void> (*run)(const Context&, const std::string&)) {
    add(
        name, does, example, [this, run](const Context& context) { return run(context, typed_.function); }, &typed_.function)
        .add_option("FUNCTION", typed_.function, "NAME")
        ->required();
  }

  void declare_changes() {
    auto& a = typed_.alias;
    auto& c = add(
        "alias", "Point an alias at versions, by share", "mayfly alias fraud live 1=90% 2=10%",
        [&a](const Context& context) { return alias(context, a); }, &a.function);
    c.add_option("FUNCTION", a.function, "NAME")->required();
    c.add_option("ALIAS", a.alias, "The alias; 'live' takes calls that name none")->required();
    c.add_option("WEIGHTS", a.weights, "VERSION=SHARE…: shares add up to 100%; one version alone takes all");
    c.add_flag("--delete", a.remove, "Delete the alias");
    auto& r = add(
        "rollback", "Point an alias at what it named before", "mayfly rollback fraud",
        [this](const Context& context) { return rollback(context, typed_.function, typed_.rollback_alias); }, &typed_.function);
    r.add_option("FUNCTION", typed_.function, "NAME")->required();
    r.add_option("--alias", typed_.rollback_alias, "The alias")->capture_default_str();
    auto& d = typed_.remove;
    auto& x = add(
        "delete", "Delete a function, or one version of it", "mayfly delete fraud --version 1",
        [&d](const Context& context) { return remove(context, d); }, &d.function);
    x.add_option("FUNCTION", d.function, "NAME")->required();
    x.add_option("--version", d.version, "Only this version")->check(CLI::Range(1, 1'000'000'000));
    x.add_flag("-y,--yes", d.yes, "Don't ask");
    auto& s = typed_.scale;
    auto& z = add(
        "scale", "Set the number of instances now; the scaler goes on from there", "mayfly scale fraud 0 --evict",
        [&s](const Context& context) { return scale(context, s); }, &s.function);
    z.add_option("FUNCTION", s.function, "NAME")->required();
    z.add_option("INSTANCES", s.instances, "How many; 0 stops them all")->required()->check(CLI::Range(0, 1000));
    z.add_flag("--evict", s.evict, "With 0: drop the template too, so that the next call starts cold");
    auto& recorded = typed_.record;
    auto& y = add(
        "record", "Keep calls of a model on its node as samples, and write them to a file", "mayfly record fraud --calls 500 --share 10%",
        [&recorded](const Context& context) { return record(context, recorded); }, &recorded.function);
    y.add_option("FUNCTION", recorded.function, "NAME; alone: shows what is kept")->required();
    y.add_option("--calls", recorded.calls, "Begin, and keep at most so many, spread over all that come")->check(CLI::Range(1, 100'000));
    y.add_option("--share", recorded.share, "Of the calls, that are looked at")->capture_default_str();
    y.add_option("--size-max", recorded.size_max, "Of all that are kept")->capture_default_str();
    y.add_option("-o,--output", recorded.output, "Write what is kept as an .npz, which numpy and 'mayfly optimize --data' read");
    y.add_flag("--off", recorded.off, "Keep no more, and remove what was kept");
  }

  void declare_layers() {
    add("layers", "List the layers of code", "mayfly layers", [](const Context& context) { return layers(context); });
    auto& o = typed_.layer;
    auto& c = *app_.add_subcommand("layer", "Publish or delete a layer: files that functions of code have below /opt");
    c.require_subcommand(1);
    c.footer("Example:\n  mayfly layer publish tools ./tools-layer");
    auto& p = *c.add_subcommand("publish", "Make a new version of a layer");
    p.footer("Example:\n  mayfly layer publish tools ./tools-layer");
    p.add_option("NAME", o.name, "The layer")->required();
    p.add_option("PATH", o.path, "A folder, a zip or a tar; what is in it lies below /opt")->required();
    p.add_option("--description", o.description, "What it is, for people");
    p.callback([this, &o] { chosen = [&o](const Context& context) { return layer(context, o); }; });
    auto& d = *c.add_subcommand("delete", "Delete a version of a layer; functions that have it keep it");
    d.footer("Example:\n  mayfly layer delete tools 1");
    d.add_option("NAME", o.name, "The layer")->required();
    d.add_option("VERSION", o.version, "Its number")->required()->check(CLI::Range(1, 1'000'000'000));
    d.callback([this, &o] {
      o.remove = true;
      chosen = [&o](const Context& context) { return layer(context, o); };
    });
  }

  void declare_bench() {
    auto& b = typed_.bench;
    auto& c = add(
        "bench", "Load a function and measure", "mayfly bench fraud --concurrency 16 --duration 10s --data @row.json",
        [&b](const Context& context) { return bench(context, b); }, &b.function);
    c.add_option("FUNCTION", b.function, "NAME, NAME:ALIAS or NAME:VERSION")->required();
    c.add_option("-c,--concurrency", b.concurrency, "Connections")->capture_default_str()->check(CLI::Range(1, 10'000));
    c.add_option("-d,--duration", b.duration, "How long, at most 1h")->capture_default_str();
    c.add_option("-n,--requests", b.requests, "Stop after so many")->check(CLI::Range(1, 1'000'000'000));
    c.add_option("--data", b.data, "The input: JSON, @FILE, or @- for standard input; zeros that fit the signature if not given");
    c.add_option("-r,--rate", b.rate,
                 "Requests a second, sent by the clock whatever the answers take; else each connection waits for its answer")
        ->check(CLI::Range(0.01, 1e7));
    c.add_option("--format", b.format, "plain (POST /functions/…) or v2 (POST /v2/models/…/infer)")
        ->capture_default_str()
        ->check(one_of({"plain", "v2"}));
    c.add_option("--warmup", b.warmup, "Answers of this first time are not in the figures; 1s where the duration is 5s or more, else none");
    c.add_option("--timeout", b.timeout, "Of one request")->capture_default_str();
  }

  void declare_optimize() {
    auto& o = typed_.optimize;
    auto& c = add("optimize", "Make a model smaller and faster, and write it only where it still answers right",
                  "mayfly optimize classifier.onnx --data samples.npz --accuracy-drop-max 1% --goal size -o small.onnx",
                  [](const Context&) { return Result<void>(); });
    c.callback([this, &o, &c] {
      if (!c.get_subcommands().empty()) return;  // history, stop
      if (o.model.empty()) throw CLI::RequiredError("MODEL");
      chosen = [&o](const Context& context) { return optimize(context, o); };
    });
    auto& kept = typed_.history;
    auto& h = *c.add_subcommand("history", "Every candidate of a function's versions that its node optimised, or does now");
    h.footer("Example:\n  mayfly optimize history classifier");
    h.add_option("FUNCTION", kept.function, "NAME")->required();
    h.callback([this, &kept] {
      chosen = [&kept](const Context& context) { return optimize_history(context, kept); };
      function = kept.function;
    });
    auto& ended = typed_.stop_optimize;
    auto& e = *c.add_subcommand("stop", "End the search that a node does for a function; the original goes on serving");
    e.footer("Example:\n  mayfly optimize stop classifier");
    e.add_option("FUNCTION", ended.function, "NAME")->required();
    e.add_option("--version", ended.version, "Of this version; the newest that is searched if not given")->check(CLI::PositiveNumber);
    e.callback([this, &ended] {
      chosen = [&ended](const Context& context) { return optimize_stop(context, ended); };
      function = ended.function;
    });
    c.add_option("MODEL", o.model, "An ONNX model; it is only read");
    c.add_option("-o,--output", o.output, "Where the best candidate goes; MODEL.optimized.onnx beside the model if not given");
    c.add_option(
        "--data", o.data,
        "Samples: an .npz (an array for each input, and label), .npy or .csv, a folder of pictures, recorded:NAME; made up if not given");
    c.add_option("--pictures", o.pictures, "How a folder's become numbers: 'resize=256 crop=224 mean=0.5 std=0.25 order=bgr range=-1..1'");
    c.add_option("--data-out", o.data_out, "Write the samples as the model is given them to this .npz, too");
    c.add_option("--recipe", o.recipes,
                 "Steps, like int8-dynamic,compile (docs/optimize.md); may be said several times; a list by the goal if not given");
    c.add_option("--goal", o.goal, "Which of those that pass is taken: the best in latency, size or cost")
        ->capture_default_str()
        ->check(one_of({"latency", "size", "cost"}));
    c.add_option("--accuracy-drop-max", o.accuracy_drop_max, "With labels: how much less often it may be right, with 95 % confidence")
        ->capture_default_str();
    c.add_option("--same-min", o.same_min, "Without: how many answers, or how much of them, must be the same")->capture_default_str();
    c.add_option("--compare", o.compare, "Without labels: classes (the largest of a row) or values; auto looks at the outputs")
        ->capture_default_str()
        ->check(one_of({"auto", "classes", "values"}));
    c.add_option("--time-max", o.time_max, "For all of it; what was not tried then is said")
        ->capture_default_str()
        ->check(fits(parse_duration));
    c.add_option("--html", o.html, "Write the report as a page, too");
    c.add_option("--svg", o.svg, "Write the picture of size or latency against accuracy, too");
    c.add_option("--png", o.png, "Write it as PNG, too; drawn by rsvg-convert, where that is installed");
    std::string steps = "Steps of a recipe, 'compile' as the last (docs/optimize.md):\n";
    for (const optimize::StepInfo& step : optimize::all_steps())
      steps += "  " + step.name + (step.amount.empty() ? "" : step.otherwise ? "[:N]" : ":N") + ": " + step.does + "\n";
    c.footer(c.get_footer() + "\n" + steps + "  compile: the engine's own optimiser writes one flat file for this CPU");
  }

  CLI::App& app_;
  Typed& typed_;
};

// Unknown functions: the node's message, and the nearest name that it knows.
std::string with_suggestion(const Context& context, const std::string& function, std::string message) {
  const std::string name = function.substr(0, function.find(':'));
  const auto answer = context.client.get("/api/functions");
  if (!answer) return message;
  std::vector<std::string> known;
  for (const Json& f : answer->value("functions", Json::array())) known.push_back(f.value("name", ""));
  if (std::find(known.begin(), known.end(), name) != known.end() || message.find("did you mean") != std::string::npos) return message;
  const auto near = nearest(name, known);
  if (!near.empty()) return message + ": did you mean '" + near.front() + "'?";
  return message + (known.empty() ? ": nothing is deployed yet" : "");
}

int exit_of(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return kUsage;
    case Code::unavailable:
      return kUnreachable;
    case Code::not_found:
      return kNotFound;
    default:
      return kFailed;
  }
}

int complain(const Context& context, const Error& error, const std::string& function) {
  std::string message = error.message;
  if (error.code == Code::not_found && !function.empty()) message = with_suggestion(context, function, message);
  const bool colors = context.terminal.err_is_terminal && context.terminal.colors;
  std::fprintf(stderr, "%smayfly:%s %s\n", colors ? "\x1b[31m" : "", colors ? "\x1b[0m" : "", message.c_str());
  return exit_of(error.code);
}

int run_command(const Typed& typed, const Commands& commands) {
  const char* from_environment = std::getenv("MAYFLY_URL");
  const std::string url = !typed.url.empty() ? typed.url : from_environment && *from_environment ? from_environment : kDefaultUrl;
  const auto address = parse_url(url);
  if (!address) {
    std::fprintf(stderr, "mayfly: %s\n", address.error().message.c_str());
    return kUsage;
  }
  const Context context{.client = Client(*address), .terminal = Terminal::detect(), .json = typed.json};
  const auto done = commands.chosen(context);
  if (!done) return complain(context, done.error(), commands.function);
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    std::fprintf(stderr, "mayfly: the answer can't be written: %s\n", std::strerror(errno));
    return kFailed;
  }
  return kDone;
}

void set_up(CLI::App& app, Typed& typed) {
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "mayfly " + std::string(kVersion));
  app.add_option("--url", typed.url, "The node; MAYFLY_URL, else " + std::string(kDefaultUrl) + ", if not given");
  app.add_flag("--json", typed.json, "Answers as JSON, for programs");
  app.footer(
      "Begin with:\n  mayfly serve\n  mayfly deploy model.onnx\n'mayfly COMMAND --help' shows a command's options.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no node answers, 4 not found.");
}

}  // namespace

int run_cli(int argc, char** argv) {
  // Before everything else: a zygote wants a process that has done nothing yet.
  if (argc > 1 && std::strcmp(argv[1], "zygote") == 0) return worker::zygote_main(argc, argv, run_optimization);
  CLI::App app("Mayfly: functions from machine-learning models, that cost nothing while nobody calls them", "mayfly");
  Typed typed;
  set_up(app, typed);
  bool serves = false, versions = false;
  auto* serve_command = app.add_subcommand("serve", "Run a node");
  serve_command->footer("Example:\n  mayfly serve --listen 127.0.0.1:8080 --data ./mayfly-data");
  serve_command->add_option("--listen", typed.serve.listen,
                            "Where it listens: ADDRESS:PORT of this machine's loopback; 127.0.0.1:8080 if not given");
  serve_command->add_option("--data", typed.serve.data, "Where it keeps everything; ./mayfly-data if not given");
  serve_command->add_option("--config", typed.serve.config, "Its configuration, a YAML file (docs/configuration.md)");
  serve_command->add_option("--debug", typed.serve.debug)->group("");  // of `mayfly dev --debug`
  serve_command->add_flag("--with-parent", typed.serve.with_parent, "End when the process that started it does");
  serve_command->callback([&] { serves = true; });
  Commands commands(app, typed);
  commands.declare();
  auto* version_command = app.add_subcommand("version", "Say which version this is");
  version_command->footer("Example:\n  mayfly version --json");
  version_command->callback([&] { versions = true; });
  try {
    app.parse(argc, argv);
    if (serves) return serve(typed.serve);
    if (versions) {
      print(typed.json ? "{\"version\":\"" + std::string(kVersion) + "\"}\n" : "mayfly " + std::string(kVersion) + "\n");
      return kDone;
    }
    return run_command(typed, commands);
  } catch (const CLI::Success& e) {  // --help, --version
    app.exit(e);
    return kDone;
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "mayfly: %s\nsee 'mayfly%s --help'\n", e.what(),
                 app.get_subcommands().empty() ? "" : (" " + app.get_subcommands().front()->get_name()).c_str());
    return kUsage;
  } catch (const Json::exception& e) {
    std::fprintf(stderr, "mayfly: the node's answer is not as expected (%s): has it the same version as this command?\n", e.what());
    return kFailed;
  }
}

}  // namespace mayfly::app
