package dev.optgptq.kernels.mpi;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ranks.Alone;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What the launchers' environment variables mean. */
class MpiLaunchTest {

    @Test
    void a_process_without_a_launcher_or_alone_under_one_loads_no_mpi() {
        for (Map<String, String> environment : List.of(Map.<String, String>of(),
                Map.of("OMPI_COMM_WORLD_SIZE", "1"), Map.of("PMI_SIZE", "1"), Map.of("SLURM_NTASKS", "4"),
                Map.of("SLURM_STEP_NUM_TASKS", "1", "SLURM_NTASKS", "4"), Map.of("PMI_SIZE", "many"))) {
            assertInstanceOf(Alone.class, MpiRanks.open(environment, Duration.ofSeconds(1), line -> {}),
                    environment::toString);
        }
    }

    @Test
    void mpirun_inside_a_step_of_slurm_counts_before_the_step() {
        MpiLaunch launch = MpiLaunch.of(Map.of("SLURM_STEP_NUM_TASKS", "1", "OMPI_COMM_WORLD_SIZE", "2")).orElseThrow();
        assertEquals("OMPI_COMM_WORLD_SIZE", launch.variable());
        assertEquals(2, launch.size());
    }

    @Test
    void the_library_of_the_launcher_is_tried_first() {
        assertEquals("libmpi.so.40", first(Map.of("OMPI_COMM_WORLD_SIZE", "2")));
        assertEquals("libmpi.so.12", first(Map.of("PMI_SIZE", "2")));
        assertEquals("libmpi.so.40", first(Map.of("SLURM_STEP_NUM_TASKS", "2", "PMIX_RANK", "0")));
    }

    private static String first(Map<String, String> environment) {
        return MpiLaunch.of(environment).orElseThrow().libraries().getFirst();
    }

    @Test
    void several_processes_without_an_mpi_library_are_refused_with_the_variable_that_names_one() {
        System.setProperty(MpiRanks.LIBRARY.property(), "/there/is/no/libmpi.so");
        try {
            assertUserError(UserError.Code.DEVICE,
                    () -> MpiRanks.open(Map.of("PMI_SIZE", "2"), Duration.ofSeconds(1), line -> {}),
                    "PMI_SIZE says that there are 2 processes", "/there/is/no/libmpi.so", "OPT_GPTQ_MPI_LIB");
        } finally {
            System.clearProperty(MpiRanks.LIBRARY.property());
        }
    }
}
