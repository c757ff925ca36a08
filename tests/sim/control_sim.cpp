// The whole node in virtual time, on a real store: deploys, alias moves, rollbacks, deletes and calls, in any order and at the
// same time, on processes that fail now and then; and the node itself crashes and opens what is left.
//
//   control_sim [seed [runs]]        MAYFLY_SEED=seed runs that one alone
//
// Always:  what a view shows is what was acknowledged; an alias names versions that are there; a call has at most one reply, from
//          a version that it could go to when it began; each recorded call counts once in the sums, under its version.
// The clock on the wall jumps by hours and by years, ahead and back.
// After a crash: everything that was acknowledged is there, and of what was under way at most the one change that the disk
//          had already; nothing is half there.
// In the end: every call has its reply, every order its answer.
// Same seed, same trace.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "control/test_node.h"
#include "store/test_folder.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using control::Done;

std::uint64_t running_seed = 0;

// What the node should hold: as acknowledged, in the words of the catalog.
struct Truth {
  struct Version {
    VersionId id;
    std::string content;
  };
  struct Function {
    FunctionId id;
    int numbers = 0;                                 // given out, of deleted versions too
    std::map<int, Version> versions;
    std::map<std::string, domain::Alias> aliases;
  };
  std::map<std::string, Function> functions;

  std::string text() const {
    std::string all;
    const auto weights = [&](const std::vector<domain::Weight>& list) {
      for (const domain::Weight& w : list) all += " " + std::to_string(w.version) + "=" + std::to_string(w.share);
    };
    for (const auto& [name, f] : functions) {
      all += name + ":";
      for (const auto& [number, version] : f.versions) all += " v" + std::to_string(number) + "(" + version.content + ")";
      for (const auto& [alias, value] : f.aliases) {
        all += " " + alias + "→";
        weights(value.weights);
        all += " before";
        weights(value.before);
      }
      all += "\n";
    }
    return all;
  }
};

// One change, as it is to be found in the catalog if it is found there at all.
struct Change {
  std::string function;
  FunctionId id;                                     // of what it was meant for; deploys go by the name
  std::function<void(Truth&)> apply;
  std::string words;
};

struct Call final : serve::ReplySink {
  FunctionId function;
  std::map<int, VersionId> may;                      // versions that it could go to when it began, by number; none: unknown
  Ticket ticket;
  int replies = 0;
  bool closed = false;
  std::function<void(Call&, serve::InvocationReply&&)> replied;
  void on_reply(Ticket t, serve::InvocationReply&& reply) override {
    ticket = t;
    ++replies;
    replied(*this, std::move(reply));
  }
};

struct Counted {
  std::uint64_t calls = 0, errors = 0;
  friend bool operator==(const Counted&, const Counted&) = default;
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : seed_(seed), random_(seed) { open(); }

  std::uint64_t run() {
    for (int life = random_.between(2, 4); life > 0; --life) {
      for (int step = random_.between(10, 40); step > 0; --step) {
        act();
        check();
      }
      if (life > 1) crash();
    }
    end();
    return hash_;
  }

 private:
  void require(bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "FAILED: %s\n  seed %llu at %.3f s; acknowledged:\n%s", what.c_str(), static_cast<unsigned long long>(seed_),
                 to_seconds(turn_.now.since_boot), truth_.text().c_str());
    std::exit(1);
  }
  void trace(std::string_view what) {
    for (const char c : what) hash_ = (hash_ ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
    hash_ = (hash_ ^ static_cast<std::uint64_t>(turn_.now.since_boot.count())) * 0x100000001b3;
  }
  std::string pick(std::initializer_list<const char*> words) {
    return words.begin()[random_.between(0, static_cast<int>(words.size()) - 1)];
  }

  // ---- the node's lives

  void open() {
    control::TestNodeOptions options{.folder = folder_, .seed = random_.next()};
    const auto sometimes = [&](double chance) { return random_.chance(0.3) ? chance : 0; };
    options.behaviour.start_fails = sometimes(0.1);
    options.behaviour.start_dies = sometimes(0.1);
    options.behaviour.run_dies = sometimes(0.05);
    options.behaviour.run_hangs = sometimes(0.01);
    options.behaviour.reports_error = sometimes(0.1);
    options.behaviour.run.most = 1ms * random_.between(10, 2000);
    options.work_max = 1ms * random_.between(1, 50);
    options.node.scale.memory_budget = Bytes{static_cast<std::uint64_t>(random_.between(20, 400)) << 20};
    options.node.seed = random_.next();
    behaviour_ = options.behaviour;
    node_ = std::make_unique<control::TestNode>(turn_, options);
    node_->launcher().compiles = random_.chance(0.9);
  }

  void crash() {
    trace("crash");
    calls_.clear();
    node_.reset();
    turn_.now = turn_.now + 1ms * random_.between(1, 100'000);
    open();
    // The catalog's line does one thing at a time: only one change can be on the disk and not acknowledged.
    const std::string seen = shown().text();
    if (seen != truth_.text()) {
      std::string tried;
      bool found = false;
      for (const Change& change : pending_) {
        Truth changed = truth_;
        change.apply(changed);
        tried += "or with: " + change.words + "\n";
        if (changed.text() != seen) continue;
        truth_ = std::move(changed);
        found = true;
        break;
      }
      require(found, "the node opened something else than was acknowledged:\n" + seen + tried);
    }
    pending_.clear();
    adopt_ids();
    check_usage();
  }

  void end() {
    behaviour_ = {.run = {1ms, 5ms}, .job_result = behaviour_.job_result};
    node_->launcher().fake.set(behaviour_);
    node_->play(5min);
    require(pending_.empty(), "an order without an answer");
    for (const Call& call : calls_) require(call.closed && call.replies <= 1, "a call without a reply");
    check();
    check_usage();
    crash();                                         // nothing is under way: nothing may change
    require(pending_.empty(), "nothing was under way");
  }

  Truth shown() {
    Truth seen;
    for (const control::FunctionView& view : (*node_)->list()) {
      Truth::Function& f = seen.functions[view.function.name];
      f.id = view.function.id;
      for (const domain::Version& v : view.function.versions) f.versions[v.number] = {v.id, v.files.at(0).sha256.substr(0, 8)};
      for (const domain::Alias& a : view.function.aliases) f.aliases[a.name] = a;
    }
    return seen;
  }
  void adopt_ids() {
    const Truth seen = shown();
    for (auto& [name, f] : truth_.functions) {
      f.id = seen.functions.at(name).id;
      for (auto& [number, version] : f.versions) version.id = seen.functions.at(name).versions.at(number).id;
    }
  }

  void check() {
    const std::string seen = shown().text();
    require(seen == truth_.text(), "the view is not what was acknowledged:\n" + seen);
    for (const auto& [name, f] : truth_.functions) {
      require(f.aliases.contains("live"), "a function without 'live'");
      for (const auto& [alias, value] : f.aliases)
        for (const domain::Weight& w : value.weights)
          require(f.versions.contains(w.version), "alias '" + alias + "' of '" + name + "' names version " + std::to_string(w.version));
      for (const auto& [number, version] : f.versions)
        require((*node_)->resolve(name, std::to_string(number)).has_value(), "a version that does not resolve");
    }
  }

  // Against the store's sums, by the ids of versions: names and numbers come again after a delete.
  void check_usage() {
    const auto sums = node_->store().usage().query({}, {}, {std::chrono::hours(2'000'000)});  // for ever: the clock jumps
    require(sums.has_value(), "the usage is known");
    std::map<VersionId, Counted> seen;
    for (const store::UsageSum& sum : *sums)
      if (sum.invocations > 0) seen[sum.version] = {sum.invocations, sum.errors};
    for (const auto& [version, counted] : counted_)
      require(seen[version] == counted, "version id " + std::to_string(version.number) + " has " + std::to_string(counted.calls) +
                                            " calls, " + std::to_string(counted.errors) + " errors, and the sums say " +
                                            std::to_string(seen[version].calls) + ", " + std::to_string(seen[version].errors));
    require(seen.size() == counted_.size(), "sums of calls that nobody made");
  }

  // ---- what happens

  void act() {
    switch (random_.between(0, 15)) {
      case 0: case 1: case 2: deploy(); break;
      case 3: case 4: set_alias(); break;
      case 5: rollback(); break;
      case 6: remove_version(); break;
      case 7: random_.chance(0.4) ? remove_function() : remove_alias(); break;
      case 8: case 9: case 10: for (int i = random_.between(1, 10); i > 0; --i) call(); break;
      case 11: node_->play(random_.chance(0.1) ? Duration(1min * random_.between(1, 600)) : Duration(1s * random_.between(1, 100))); break;
      case 12: turn_.wall.since_epoch += random_.chance(0.2) ? 24h * random_.between(-400, 400) : 1s * random_.between(-7200, 7200); break;
      case 13: require(node_->store().usage().fold(turn_.wall).has_value(), "the usage is summed"); break;
      case 14: if (Truth::Function* f = some()) (void)(*node_)->scale(name_of(*f), random_.between(0, 2), random_.chance(0.5)); break;
      default: check_usage(); break;
    }
    node_->poke();
    // Often not at all: then the next thing is ordered while this one is under way.
    if (random_.chance(0.6)) node_->play(1ms * random_.between(0, random_.chance(0.5) ? 20 : 1000));
  }

  Truth::Function* some() {
    if (truth_.functions.empty()) return nullptr;
    auto at = truth_.functions.begin();
    std::advance(at, random_.between(0, static_cast<int>(truth_.functions.size()) - 1));
    return &at->second;
  }
  std::string name_of(const Truth::Function& wanted) {
    for (const auto& [name, f] : truth_.functions)
      if (&f == &wanted) return name;
    return "";
  }
  int some_version(const Truth::Function& f) {       // now and then one that is not there
    if (random_.chance(0.05)) return f.numbers + 1;
    auto at = f.versions.begin();
    std::advance(at, random_.between(0, static_cast<int>(f.versions.size()) - 1));
    return at->first;
  }

  // Orders it, and once it is acknowledged makes it true.
  template <class T>
  void order(Change change, const std::function<void(Done<T>)>& begin, std::function<void(const Result<T>&)> answered = nullptr) {
    pending_.push_back(std::move(change));
    const auto at = std::prev(pending_.end());
    begin([this, at, answered](Result<T> result) {
      const Change done = std::move(*at);
      pending_.erase(at);
      trace(done.words + (result ? " done" : " refused: " + result.error().message));
      if (!result) return require(result.error().code != Code::internal && result.error().code != Code::data_loss, result.error().message);
      done.apply(truth_);
      if (answered) answered(result);
    });
  }

  void deploy() {
    const std::string name = pick({"fraud", "photos", "sentences"}), content = pick({"a", "b", "c", "d"});
    if (!files_.contains(content)) files_[content] = node_->upload("model.onnx", "model " + content);
    const domain::FileRef file = files_[content];
    control::DeployOrder wanted{.name = name, .manifest = pick({"", "scaling: {min: 1}", "scaling: {keep_alive: 1s}"}), .files = {file},
                                .force = random_.chance(0.3)};
    const std::string alias = pick({"live", "live", "canary", ""});
    wanted.alias = alias.empty() ? std::nullopt : std::optional(alias);
    const std::string sha = file.sha256.substr(0, 8);
    const auto apply = [name, alias, sha](Truth& truth) {
      const bool is_new = !truth.functions.contains(name);
      Truth::Function& f = truth.functions[name];
      f.versions[++f.numbers] = {{}, sha};
      for (const std::string& moved : {std::string(is_new ? "live" : ""), alias == "live" && is_new ? std::string() : alias})
        if (!moved.empty()) f.aliases[moved] = {.name = moved, .weights = {{f.numbers, 1}}, .before = f.aliases[moved].weights};
    };
    trace("deploy " + name + content + alias);
    // Not by order(): an answer may say that nothing was new.
    pending_.push_back({name, {}, apply, "deploy of " + name});
    const auto at = std::prev(pending_.end());
    (*node_)->deploy(std::move(wanted), [this, at, name](Result<control::VersionView> view) {
      const Change done = std::move(*at);
      pending_.erase(at);
      trace(view ? "deployed" : view.error().message);
      if (!view) return require(view.error().code != Code::internal, view.error().message);
      if (!view->unchanged) {
        done.apply(truth_);
        Truth::Function& f = truth_.functions.at(name);
        require(f.numbers == view->version.number, "version " + std::to_string(view->version.number) + " where " +
                                                       std::to_string(f.numbers) + " was to come: a number is used once");
        f.id = view->version.function;
        f.versions.at(f.numbers).id = view->version.id;
      }
      check();
    });
  }

  static Change alias_change(const std::string& name, const Truth::Function& f, const domain::Alias& value, const std::string& words) {
    return {name, f.id, [name, id = f.id, value](Truth& truth) {
      const auto at = truth.functions.find(name);
      if (at != truth.functions.end() && at->second.id == id) at->second.aliases[value.name] = value;
    }, words + " of " + name + ":" + value.name};
  }

  void set_alias() {
    const Truth::Function* f = some();
    if (!f) return;
    const std::string name = name_of(*f), alias = pick({"live", "canary", "green"});
    std::vector<domain::Weight> weights{{some_version(*f), 1}};
    if (const int other = some_version(*f); other != weights[0].version && random_.chance(0.6)) {
      const double share = 0.25 * random_.between(0, 4);
      weights = {{weights[0].version, 1 - share}, {other, share}};
    }
    const auto known = f->aliases.find(alias);
    const domain::Alias value{.name = alias, .weights = weights,
                              .before = known != f->aliases.end() ? known->second.weights : std::vector<domain::Weight>()};
    order<domain::Alias>(alias_change(name, *f, value, "move"),
                         [&](Done<domain::Alias> done) { (*node_)->set_alias(name, alias, weights, std::move(done)); },
                         [this, value](const Result<domain::Alias>& now) { require(*now == value, "it is answered as it was not set"); });
  }

  void rollback() {
    const Truth::Function* f = some();
    if (!f) return;
    const std::string name = name_of(*f), alias = pick({"live", "live", "canary"});
    domain::Alias value{.name = alias};
    if (const auto known = f->aliases.find(alias); known != f->aliases.end())
      value = {.name = alias, .weights = known->second.before, .before = known->second.weights};
    order<domain::Alias>(alias_change(name, *f, value, "rollback"),
                         [&](Done<domain::Alias> done) { (*node_)->rollback(name, alias, std::move(done)); });
  }

  void remove_alias() {
    const Truth::Function* f = some();
    if (!f) return;
    const std::string name = name_of(*f), alias = pick({"live", "canary", "green"});
    order<void>({name, f->id, [name, id = f->id, alias](Truth& truth) {
      const auto at = truth.functions.find(name);
      if (at != truth.functions.end() && at->second.id == id) at->second.aliases.erase(alias);
    }, "removal of " + name + ":" + alias}, [&](Done<void> done) { (*node_)->remove_alias(name, alias, std::move(done)); });
  }

  void remove_version() {
    const Truth::Function* f = some();
    if (!f) return;
    const std::string name = name_of(*f);
    const int number = some_version(*f);
    order<void>({name, f->id, [name, id = f->id, number](Truth& truth) {
      const auto at = truth.functions.find(name);
      if (at != truth.functions.end() && at->second.id == id) at->second.versions.erase(number);
    }, "removal of " + name + ":" + std::to_string(number)},
                [&](Done<void> done) { (*node_)->remove_version(name, number, std::move(done)); });
  }

  void remove_function() {
    const Truth::Function* f = some();
    if (!f) return;
    const std::string name = name_of(*f);
    order<void>({name, f->id, [name, id = f->id](Truth& truth) {
      const auto at = truth.functions.find(name);
      if (at != truth.functions.end() && at->second.id == id) truth.functions.erase(at);
    }, "removal of " + name}, [&](Done<void> done) { (*node_)->remove(name, std::move(done)); });
  }

  // ---- the clients

  void count(VersionId version, bool error) {
    ++counted_[version].calls;
    counted_[version].errors += error;
  }

  void call() {
    const std::string name = pick({"fraud", "photos", "sentences", "sentences", "absent"});
    std::string qualifier = pick({"", "live", "canary", "$LATEST", "number"});
    Call& made = calls_.emplace_back();
    if (const auto at = truth_.functions.find(name); at != truth_.functions.end()) {
      const Truth::Function& f = at->second;
      made.function = f.id;
      if (qualifier == "number") qualifier = std::to_string(some_version(f));
      const auto alias = f.aliases.find(qualifier.empty() ? "live" : qualifier);
      if (qualifier == "$LATEST") made.may[f.versions.rbegin()->first] = f.versions.rbegin()->second.id;
      else if (alias != f.aliases.end()) {
        for (const domain::Weight& w : alias->second.weights)
          if (w.share > 0) made.may[w.version] = f.versions.at(w.version).id;
      } else if (const auto version = f.versions.find(std::atoi(qualifier.c_str())); version != f.versions.end()) {
        made.may[version->first] = version->second.id;
      }
    }
    made.replied = [this](Call& c, serve::InvocationReply&& reply) { on_reply(c, std::move(reply)); };
    const Ticket ticket = (*node_)->invoker().invoke(
        {.function = name, .qualifier = qualifier, .body = "{}", .arrived = turn_.now, .timeout = 1ms * random_.between(0, 3000)}, made);
    made.ticket = ticket;
    if (made.replies == 0 && made.may.size() == 1 && random_.chance(0.1))
      node_->at(turn_.now + 1ms * random_.between(0, 500), [this, &made] {
        if (made.replies > 0 || made.closed) return;
        made.closed = true;
        (*node_)->invoker().cancel(made.ticket);
        count(made.may.begin()->second, true);
      });
  }

  void on_reply(Call& c, serve::InvocationReply&& reply) {
    require(c.replies == 1 && !c.closed, "a second reply, or one to a client that has left");
    trace(reply.ok ? "answered" : reply.error.message);
    const auto version = c.may.find(reply.version);
    require(c.may.empty() == (reply.version == 0), "a call went nowhere although its version was there, or somewhere although not: " +
                                                       reply.error.message);
    require(c.may.empty() || version != c.may.end(), "a call was answered by version " + std::to_string(reply.version) +
                                                         ", to which it could not go when it began");
    require(!c.may.empty() || reply.error.code == Code::not_found, "a call of what is not there is told so");
    const VersionId id = c.may.empty() ? VersionId{} : version->second;
    if (!reply.ok) count(id, true);                  // recorded when it failed; what succeeds, once it is sent
    // Never from inside the reply.
    node_->at(turn_.now + 1ms * random_.between(0, 50), [this, &c, id, ok = reply.ok] {
      c.closed = true;
      if (random_.chance(0.1)) (*node_)->invoker().cancel(c.ticket);
      else (*node_)->invoker().sent(c.ticket, turn_.now, 2);
      if (ok) count(id, false);
    });
  }

  const std::uint64_t seed_;
  Random random_;
  store::TestFolder folder_;
  Turn turn_{{1h}, {std::chrono::hours(480'000)}};
  instances::FakeBehaviour behaviour_;
  std::unique_ptr<control::TestNode> node_;
  Truth truth_;
  std::list<Change> pending_;                        // ordered, not answered
  std::list<Call> calls_;
  std::map<VersionId, Counted> counted_;             // what must be on the bill
  std::map<std::string, domain::FileRef> files_;
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  const char* const only = std::getenv("MAYFLY_SEED");
  const std::uint64_t seed = only ? std::strtoull(only, nullptr, 10) : argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const std::uint64_t runs = !only && argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  std::signal(SIGABRT, [](int) {  // an ASSERT of the node itself
    std::fprintf(stderr, "FAILED: seed %llu\n", static_cast<unsigned long long>(mayfly::running_seed));
  });
  for (std::uint64_t s = seed; s < seed + runs; ++s) {
    mayfly::running_seed = s;
    const std::uint64_t trace = mayfly::Simulation(s).run();
    if (s % 25 == 0 && mayfly::Simulation(s).run() != trace) {
      std::fprintf(stderr, "FAILED: seed %llu does not replay\n", static_cast<unsigned long long>(s));
      return 1;
    }
  }
  std::printf("ok: %llu seeds\n", static_cast<unsigned long long>(runs));
}
