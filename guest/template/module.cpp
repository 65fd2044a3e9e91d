#define Py_LIMITED_API 0x03070000
#include <Python.h>
#include <sys/prctl.h>

#include "launcher/stem.h"

// The module _aegis_template: what turns an image's own interpreter into a template of sandboxes.
// Its serve(socket) returns in every payload that is forked and nowhere else.
// Built for the stable ABI, with the C++ library inside, so that it loads in any image's Python
// from 3.7 on whose C library is not older than this machine's; elsewhere the import fails, and
// sandboxes of that image start their own interpreter.
namespace {

PyObject* serve(PyObject*, PyObject* argument) {
    const long socket = PyLong_AsLong(argument);
    if (socket == -1 && PyErr_Occurred() != nullptr) return nullptr;
    const aegis::launcher::ForkHooks hooks{PyOS_BeforeFork, PyOS_AfterFork_Parent,
                                           PyOS_AfterFork_Child};
    auto status = aegis::launcher::serveTemplate(static_cast<int>(socket), hooks);
    if (!status) {
        PyErr_SetString(PyExc_OSError, status.error().message.c_str());
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* rename(PyObject*, PyObject* argument) {
    PyObject* bytes = PyUnicode_AsUTF8String(argument);
    if (bytes == nullptr) return nullptr;
    prctl(PR_SET_NAME, PyBytes_AsString(bytes));
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

PyMethodDef g_methods[] = {{"rename", rename, METH_O, "Names this process, as ps shows it."},
                           {"serve", serve, METH_O, "Forks sandboxes until the world ends."},
                           {nullptr, nullptr, 0, nullptr}};
PyModuleDef g_module = {PyModuleDef_HEAD_INIT,
                        "_aegis_template",
                        nullptr,
                        -1,
                        g_methods,
                        nullptr,
                        nullptr,
                        nullptr,
                        nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__aegis_template() { return PyModule_Create(&g_module); }
