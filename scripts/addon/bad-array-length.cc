// C++11's libraries call this when an array is asked for with an impossible length. It is in libstdc++ only since GCC 11
// (GLIBCXX_3.4.29); with a copy of its own the addon runs with the libstdc++ of every Linux that Node.js runs on.
#include <new>

namespace std {
[[noreturn]] __attribute__((visibility("hidden"))) void __throw_bad_array_new_length() {
  throw bad_array_new_length();
}
}  // namespace std
