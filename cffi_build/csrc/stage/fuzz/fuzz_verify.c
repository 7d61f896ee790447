// fuzz_verify.c: libFuzzer's way into the verifier. An accepted plan is replayed to each of its gates
// too, as the stage does before it verifies a suffix, and the input is verified once more as that suffix.
#include "../verify.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    void *blob = malloc(size ? size : 1); // aligned, and exactly as long
    if (!blob)
        abort();
    memcpy(blob, data, size);
    struct nsj_flow flow = {.begun = false};
    struct nsj_verdict verdict;
    if (nsj_verify(blob, size, &flow, &verdict)) {
        const struct nsj_header *header = blob;
        for (uint32_t i = 0; i < header->nsteps; i++) {
            struct nsj_flow at_gate = {.begun = false};
            if (nsj_steps(header)[i].op == NSJ_OP_GATE && nsj_flow_to_gate(blob, i, NSJ_MAX_SLOTS - 2, 2, &at_gate))
                nsj_verify(blob, size, &at_gate, &verdict);
        }
    }
    free(blob);
    return 0;
}
