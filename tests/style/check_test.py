"""The checker against small trees with one breach each: it must name it."""
import os
import tempfile
import unittest

import check


class Breaches(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.put("src/base/CMakeLists.txt", "aegis_room(base LIBS fmt::fmt)\n")
        self.put("src/base/README.md", "# base\n")
        self.put("src/base/base.h", "#pragma once\n")
        self.put("src/text/CMakeLists.txt", "aegis_room(text DEPS base)\n")
        self.put("src/text/README.md", "# text\n")

    def put(self, path, text):
        path = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def found(self):
        checker = check.Checker(self.folder.name)
        checker.findRooms()
        checker.checkArrows()
        checker.checkFiles()
        checker.checkReadmes()
        return checker.breaches

    def expect(self, *parts):
        found = self.found()
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def testCleanTree(self):
        self.put("src/text/a.cpp", '#include "base/base.h"\nint f() {\n    return 1;\n}\n')
        self.assertEqual(self.found(), [])

    def testArrowUpwards(self):
        self.put("src/os/CMakeLists.txt", "aegis_room(os DEPS base)\n")
        self.put("src/text/a.cpp", '#include "os/fd.h"\n')
        self.expect("src/text/a.cpp:1", "text may not use os")

    def testDependencyUpwards(self):
        self.put("src/base/CMakeLists.txt", "aegis_room(base DEPS text)\n")
        self.expect("base may not depend on text")

    def testAdaptersApart(self):
        self.put("src/volume/CMakeLists.txt", "aegis_room(volume DEPS base)\n")
        self.put("src/models/CMakeLists.txt", "aegis_room(models DEPS base)\n")
        self.put("src/models/README.md", "# models\n")
        self.put("src/models/a.cpp", '#include "volume/manager.h"\n')
        self.expect("models may not use volume")

    def testUnknownRoom(self):
        self.put("src/attic/CMakeLists.txt", "aegis_room(attic)\n")
        self.expect("attic has no line")

    def testLongFunction(self):
        self.put("src/text/a.cpp", "void f() {\n" + "    g();\n" * 70 + "}\n")
        self.expect("src/text/a.cpp:1", "a function of 72 lines")

    def testLongSource(self):
        self.put("src/text/a.cpp", "int a;\n" * 601)
        self.expect("601 lines")

    def testLongLine(self):
        self.put("src/text/a.cpp", "// " + "a" * 98 + "\n")
        self.expect("101 columns")

    def testBaseStaysSmall(self):
        for name in "abc":
            self.put(f"src/base/{name}.cpp", "int a;\n" * 550)
        self.expect("src/base", "at most 1500")

    def testBanned(self):
        for line in ("std::regex r;", "co_await x;", "#include <format>", "std::format(1);"):
            self.put("src/text/a.cpp", line + "\n")
            self.assertTrue(self.found(), line)

    def testMachine(self):
        for line in ("std::thread t;", "::socket(1, 2, 3);", "std::chrono::steady_clock::now();",
                     "::fork();", "std::random_device d;", "std::this_thread::sleep_for(x);"):
            self.put("src/text/a.cpp", f"void f() {{ {line} }}\n")
            self.assertTrue(self.found(), line)

    def testTextIsNoCode(self):
        self.put("src/text/a.cpp", '// std::thread\nconst char* a = "std::regex ::fork()";\n')
        self.assertEqual(self.found(), [])

    def testReadme(self):
        self.put("src/text/README.md", "# text\n" + "line\n" * 16)
        self.expect("16 lines")

    def testFolderWithoutReadme(self):
        self.put("src/os/CMakeLists.txt", "aegis_room(os DEPS base)\n")
        self.put("src/os/fd.h", "#pragma once\n")
        self.expect("src/os: has no README.md")


if __name__ == "__main__":
    unittest.main()
