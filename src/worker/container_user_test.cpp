// Who an image's USER is, by its own accounts: as container runtimes read them, and no further than the limits.
#include "worker/container_user.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "worker/detail/binds.h"
#include "worker/detail/user_lookup.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

using Groups = std::vector<std::uint32_t>;

constexpr std::string_view kPasswd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\n::5:5::/:\nbad:x:five:5::/bad:\n"
                                     "app:x:1234:1300:App:/srv/app:/bin/sh\r\napp:x:9:9::/later:\n1300:x:77:78::/odd:\nbare:x:12:13";
constexpr std::string_view kGroup = "root:x:0:\napp:x:1300:app\nstaff:x:50:other,app\nstaff:x:51:\nmedia:x:44:app,app\nagain:x:50:app\n"
                                    "near:x:60:apps,ap\nbad:x:x:app\n99:x:98:\n";

ContainerUser found(std::string_view wanted, std::string_view passwd = kPasswd, std::string_view group = kGroup) {
  auto user = find_user(wanted, passwd, group);
  EXPECT_TRUE(user) << wanted << ": " << (user ? "" : user.error().message);
  return user.value_or(ContainerUser{.uid = 99999});
}

std::string refused(std::string_view wanted, std::string_view passwd = kPasswd, std::string_view group = kGroup) {
  const auto user = find_user(wanted, passwd, group);
  return user ? "found" : user.error().message;
}

TEST(ContainerUser, ANameHasItsNumbersItsHomeAndItsOtherGroups) {
  EXPECT_EQ(found("app"), (ContainerUser{.uid = 1234, .gid = 1300, .groups = Groups{50, 44}, .home = "/srv/app"}));
  EXPECT_EQ(found("root"), (ContainerUser{.uid = 0, .gid = 0, .home = "/root"}));
  EXPECT_EQ(found("bare"), (ContainerUser{.uid = 12, .gid = 13, .home = "/"})) << "a line may end early";
}

TEST(ContainerUser, ANumberIsTheSameAndNeedsNoLine) {
  EXPECT_EQ(found("1234"), found("app"));
  EXPECT_EQ(found("4321"), (ContainerUser{.uid = 4321, .gid = 0, .home = "/"}));
  EXPECT_EQ(found("2147483647").uid, 2147483647U);
  EXPECT_EQ(found("1300"), (ContainerUser{.uid = 77, .gid = 78, .home = "/odd"})) << "a name may be digits";
  EXPECT_EQ(found("5", "", ""), (ContainerUser{.uid = 5, .gid = 0, .home = "/"}));
  EXPECT_EQ(found("root", "", ""), (ContainerUser{.uid = 0, .gid = 0, .home = "/"})) << "so does root";
}

TEST(ContainerUser, AGroupThatIsNamedIsTheOnlyOne) {
  EXPECT_EQ(found("app:staff"), (ContainerUser{.uid = 1234, .gid = 50, .home = "/srv/app"}));
  EXPECT_EQ(found("1234:7"), (ContainerUser{.uid = 1234, .gid = 7, .home = "/srv/app"}));
  EXPECT_EQ(found("app:99").gid, 98U) << "a group's name may be digits";
  EXPECT_EQ(found(":50"), (ContainerUser{.uid = 0, .gid = 50, .home = "/"}));
  EXPECT_EQ(found("app:").gid, 1300U);
}

TEST(ContainerUser, WhatIsNotThereIsSaid) {
  EXPECT_NE(refused("nobody").find("user 'nobody' is not in its /etc/passwd"), std::string::npos);
  EXPECT_NE(refused("app:nobodies").find("group 'nobodies' is not in its /etc/group"), std::string::npos);
  EXPECT_NE(refused("4294967296").find("too large"), std::string::npos);
  EXPECT_NE(refused("1:2147483648").find("too large"), std::string::npos);
  for (const char* wanted : {"-1", "0x10", "+5", "1 ", "bad", "ap"}) EXPECT_NE(refused(wanted), "found") << wanted;
  EXPECT_NE(refused("bare", ""), "found");
}

TEST(ContainerUser, HostileAccountsHaveLimits) {
  std::string many;
  for (int i = 1; i < 200; ++i) many += "g" + std::to_string(i) + ":x:" + std::to_string(1000 + i) + ":app\n";
  EXPECT_EQ(found("app", kPasswd, many).groups.size(), kUserGroupsMax);
  EXPECT_EQ(found("x", "x:x:1:1::/a\tb:\n").home, "/") << "no home that is no plain text";
  EXPECT_EQ(found("x", std::string("x:x:1:1::/a\0b:\n", 15)).home, "/");
  EXPECT_NE(refused("x", "x:x:4294967297:1::/:\n"), "found") << "a number that would come round";
  EXPECT_NE(refused("a", std::string(1 << 20, ':')), "found");
  EXPECT_NE(refused("a", std::string(1 << 20, '\n')), "found");
}

class UserLookup : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(prepare_filters());
    root_ = ::testing::TempDir() + "user_lookup_" + std::to_string(::getpid());
    std::filesystem::create_directories(root_ + "/etc");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, std::string_view text) { std::ofstream(root_ + "/" + name) << text; }
  std::string root_;
};

TEST_F(UserLookup, AProcessOfItsOwnSaysTheNumbers) {
  write("etc/passwd", kPasswd);
  write("etc/group", kGroup);
  const auto user = look_up_user(root_, "app");
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ(user->uid, 1234U);
  EXPECT_EQ(user->gid, 1300U);
  EXPECT_EQ(user->groups, (Groups{50, 44}));
  EXPECT_FALSE(look_up_user(root_, "nobody"));
  EXPECT_EQ(look_up_user(root_, "7")->uid, 7U);
}

TEST_F(UserLookup, LinksLeadInsideTheImage) {
  write("secret", kPasswd);
  const std::string outside = root_ + "-outside";
  std::ofstream(outside) << "outsider:x:5:5::/:\n";
  std::filesystem::create_symlink(outside, root_ + "/etc/passwd");
  EXPECT_FALSE(look_up_user(root_, "outsider"));
  std::filesystem::remove(root_ + "/etc/passwd");
  std::filesystem::create_symlink("../../../../secret", root_ + "/etc/passwd");
  EXPECT_EQ(look_up_user(root_, "app")->uid, 1234U);
  std::filesystem::remove(outside);
}

TEST_F(UserLookup, WhatIsNoFileIsNotRead) {
  ASSERT_EQ(::mkfifo((root_ + "/etc/passwd").c_str(), 0600), 0);
  std::filesystem::create_directories(root_ + "/etc/group");
  EXPECT_FALSE(look_up_user(root_, "app"));
  EXPECT_EQ(look_up_user(root_, "7:8")->gid, 8U);
}

TEST(UserLine, IsAmongTheBinds) {
  EXPECT_EQ(read_outside("/a\t/\nUSER\tapp:staff\n")->user, "app:staff");
  EXPECT_EQ(read_outside("/a\t/\n")->user, "");
  for (const std::string& line : {std::string("USER\t\n"), "USER\t" + std::string(300, 'a') + "\n", std::string("USER\ta\x01\n")})
    EXPECT_FALSE(read_outside(line)) << line;
}

}  // namespace
}  // namespace mayfly::worker
