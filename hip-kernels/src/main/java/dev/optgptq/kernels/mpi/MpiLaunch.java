package dev.optgptq.kernels.mpi;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * What a launcher says of the job that it started, in environment variables.
 *
 * @param launcher for people
 * @param size processes that it started
 * @param variable that says so
 * @param libraries files of the MPI library that go with it, the likeliest first
 */
record MpiLaunch(String launcher, int size, String variable, List<String> libraries) {

    private static final String OPEN_MPI = "libmpi.so.40";
    /** The second is Debian's name. */
    private static final List<String> MPICH = List.of("libmpi.so.12", "libmpich.so.12");
    /** The ABI that MPI 5 standardizes. */
    private static final String STANDARD = "libmpi_abi.so.0";
    private static final Pattern COUNT = Pattern.compile("[1-9]\\d{0,6}");

    /**
     * The launch of this process; empty where it was not launched as one of several. Not SLURM_NTASKS: sbatch sets that for the
     * one process that runs the script.
     */
    static Optional<MpiLaunch> of(Map<String, String> environment) {
        boolean pmix = environment.containsKey("PMIX_RANK");
        List<MpiLaunch> known = List.of(
                launch("mpirun of Open MPI", environment, "OMPI_COMM_WORLD_SIZE", true),
                launch("mpirun of MPICH, or srun --mpi=pmi2", environment, "PMI_SIZE", false),
                launch("srun", environment, "SLURM_STEP_NUM_TASKS", pmix));
        return known.stream().filter(launch -> launch.size > 0).findFirst().filter(launch -> launch.size > 1);
    }

    private static MpiLaunch launch(String launcher, Map<String, String> environment, String variable,
            boolean openMpiFirst) {
        String count = environment.getOrDefault(variable, "");
        List<String> files = openMpiFirst
                ? List.of(OPEN_MPI, STANDARD, MPICH.getFirst(), MPICH.getLast())
                : List.of(MPICH.getFirst(), MPICH.getLast(), STANDARD, OPEN_MPI);
        return new MpiLaunch(launcher, COUNT.matcher(count).matches() ? Integer.parseInt(count) : 0, variable, files);
    }
}
