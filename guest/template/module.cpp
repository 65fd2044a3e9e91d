#define Py_LIMITED_API 0x03070000
#include <Python.h>
#include <sys/prctl.h>

#include "launcher/stem.h"

// The module _aegis_template: what turns an image's own interpreter into a template of sandboxes.
// Its serve(socket, at_rest) returns in every payload that is forked and nowhere else: whether that
// has time to prepare itself.
// Built for the stable ABI, with the C++ library inside, so that it loads in any image's Python
// from 3.7 on whose C library is not older than this machine's; elsewhere the import fails, and
// sandboxes of that image start their own interpreter.
namespace {

PyObject* g_at_rest = nullptr;  // borrowed from serve()'s arguments

void callAtRest() {
    PyObject* result = PyObject_CallObject(g_at_rest, nullptr);
    // Stems start without it too.
    if (result == nullptr) PyErr_Clear();
    Py_XDECREF(result);
}

PyObject* serve(PyObject*, PyObject* arguments) {
    int socket = -1;
    if (PyArg_ParseTuple(arguments, "iO", &socket, &g_at_rest) == 0) return nullptr;
    const aegis::launcher::ForkHooks hooks{PyOS_BeforeFork, PyOS_AfterFork_Parent,
                                           PyOS_AfterFork_Child, callAtRest};
    const auto unhurried = aegis::launcher::serveTemplate(socket, hooks);
    if (!unhurried) {
        PyErr_SetString(PyExc_OSError, unhurried.error().message.c_str());
        return nullptr;
    }
    return PyBool_FromLong(*unhurried ? 1 : 0);
}

PyObject* rename(PyObject*, PyObject* argument) {
    PyObject* bytes = PyUnicode_AsUTF8String(argument);
    if (bytes == nullptr) return nullptr;
    prctl(PR_SET_NAME, PyBytes_AsString(bytes));
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

PyMethodDef g_methods[] = {{"rename", rename, METH_O, "Names this process, as ps shows it."},
                           {"serve", serve, METH_VARARGS,
                            "Forks sandboxes until the world ends; calls once what may wait."},
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
