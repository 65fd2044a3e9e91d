#include "launcher/launcher.h"

int main() { return aegis::launcher::serve(aegis::launcher::kSocket); }
