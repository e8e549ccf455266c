package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices.Candidate;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.SelfTest;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GpuDevicesTest {

    private static final String HIP = "opt-gptq.hip.lib";
    private static final String ROCBLAS = "opt-gptq.rocblas.lib";
    private static final String CUDA = "opt-gptq.cuda.lib";
    private static final String NVRTC = "opt-gptq.nvrtc.lib";
    private static final String CUBLAS = "opt-gptq.cublas.lib";

    @AfterEach
    void forgetTheSettings() {
        List.of(HIP, ROCBLAS, CUDA, NVRTC, CUBLAS).forEach(System::clearProperty);
    }

    private static void useEmulator(int wave) {
        System.setProperty(HIP, Emulator.library(wave).toString());
        // A real rocBLAS would follow the emulator's addresses to a real device.
        System.setProperty(ROCBLAS, "none");
    }

    @Test
    void every_device_of_a_driver_is_listed_with_what_it_is() {
        useEmulator(32);
        List<Candidate> found = GpuDevices.list("hip");
        assertEquals(List.of("hip:0", "hip:1"), found.stream().map(Candidate::name).toList());
        assertEquals("SIMT emulator, wave 32, gfx1030, waves of 32, 2 compute units, 8.0 GiB",
                found.getFirst().detail());
    }

    @Test
    void an_opened_device_passes_the_self_test_and_says_what_multiplies_its_matrices() {
        useEmulator(64);
        try (Device device = Devices.open("hip", 1)) {
            SelfTest.Result result = SelfTest.run(device);
            assertTrue(result.passed(), result.detail());
            assertEquals("hip:0", device.name());
            assertTrue(device.description().contains("own matmul kernel, since rocBLAS: switched off"),
                    device.description());
        }
    }

    @Test
    void the_cuda_driver_is_used_as_the_hip_runtime_is_and_in_any_thread() throws InterruptedException {
        System.setProperty(CUDA, Emulator.library(32).toString());
        System.setProperty(NVRTC, Emulator.library(32).toString());
        System.setProperty(CUBLAS, "none");
        try (Device device = Devices.open("cuda:1", 1)) {
            assertTrue(device.description().startsWith("SIMT emulator, wave 32, sm_90, waves of 32"),
                    device.description());
            // CUDA's contexts belong to threads.
            List<SelfTest.Result> results = new ArrayList<>();
            Thread other = new Thread(() -> results.add(SelfTest.run(device)));
            other.start();
            other.join();
            results.add(SelfTest.run(device));
            assertTrue(results.size() == 2 && results.stream().allMatch(SelfTest.Result::passed), results.toString());
        }
    }

    @Test
    void auto_is_a_gpu_where_there_is_one() {
        useEmulator(64);
        assertEquals("hip:0", Devices.choose().name());
    }

    @Test
    void auto_is_the_processor_where_there_is_no_gpu_and_says_why() {
        System.setProperty(HIP, "none");
        System.setProperty(CUDA, "none");
        Devices.Choice choice = Devices.choose();
        assertEquals("cpu", choice.name());
        assertEquals("no GPU can be used: hip: HIP runtime: switched off, OPT_GPTQ_HIP_LIB is none; "
                + "cuda: CUDA driver: switched off, OPT_GPTQ_CUDA_LIB is none", choice.reason());
    }

    @Test
    void a_device_that_was_asked_for_is_never_replaced_by_another() {
        System.setProperty(CUDA, "none");
        UserError absent = assertThrows(UserError.class, () -> Devices.open("cuda", 1));
        assertEquals(UserError.Code.DEVICE, absent.code());
        useEmulator(64);
        UserError beyond = assertThrows(UserError.class, () -> Devices.open("hip:2", 1));
        assertTrue(String.valueOf(beyond.getMessage()).startsWith("device hip:2: there are 2, counted from 0"),
                beyond.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"hip:all, 'hip:0, hip:1'", "'hip:1,0', 'hip:1, hip:0'", "hip:1, hip:1", "hip, hip:0", "cpu, cpu"})
    void several_devices_are_opened_by_their_numbers_or_all(String names, String expected) {
        useEmulator(64);
        try (DeviceGroup group = Devices.openGroup(names, 1)) {
            assertEquals(expected, group.name());
        }
    }

    @Test
    void what_is_wrong_with_a_list_of_devices_is_said() {
        useEmulator(64);
        assertRefused(UserError.Code.DEVICE, "hip:0,2", "device hip:2: there are 2");
        assertRefused(UserError.Code.BAD_SETTING, "hip:0,0", "names a device twice");
        assertRefused(UserError.Code.BAD_SETTING, "hip:0,", "expected auto");
        assertRefused(UserError.Code.BAD_SETTING, "cpu:all", "expected auto");
    }

    private static void assertRefused(UserError.Code code, String names, String message) {
        UserError refused = assertThrows(UserError.class, () -> Devices.openGroup(names, 1));
        assertEquals(code, refused.code(), names);
        assertTrue(String.valueOf(refused.getMessage()).contains(message), refused.getMessage());
    }

    @Test
    void devices_that_compute_differently_do_not_share_a_job() {
        useEmulator(64);
        try (Device gpu = Devices.open("hip", 1); Device cpu = Devices.open("cpu", 1)) {
            UserError refused = assertThrows(UserError.class, () -> new DeviceGroup(List.of(gpu, cpu)));
            assertTrue(String.valueOf(refused.getMessage()).contains("name devices that are alike"),
                    refused.getMessage());
        }
    }

    /** Directly for one driver, through the host for different ones. */
    @ParameterizedTest
    @CsvSource({"hip:0, hip:1", "hip:0, cpu", "cpu, hip:1"})
    void a_device_receives_what_another_holds(String to, String from) {
        useEmulator(64);
        assertReceived(to, from);
    }

    @Test
    void devices_of_one_cuda_driver_receive_from_each_other() {
        System.setProperty(CUDA, Emulator.library(32).toString());
        System.setProperty(NVRTC, Emulator.library(32).toString());
        try (DeviceGroup group = Devices.openGroup("cuda:0,1", 1)) {
            assertReceives(group.devices().get(1), group.first());
        }
    }

    private static void assertReceived(String to, String from) {
        boolean together = to.startsWith("hip") && from.startsWith("hip");
        try (DeviceGroup group = together ? Devices.openGroup("hip:0,1", 1) : DeviceGroup.of(Devices.open(to, 1));
                Device other = Devices.open(from, 1)) {
            assertReceives(group.first(), together ? group.devices().get(1) : other);
        }
    }

    /** More rows than pass through the host at a time, to a view whose neighbours must not change. */
    private static void assertReceives(Device to, Device from) {
        try (TensorArena there = from.arena(); TensorArena here = to.arena(); Arena host = Arena.ofShared()) {
            int rows = 3000;
            int columns = 2000;
            Tensor source = there.matrix(DType.F32, rows, columns);
            float[] values = new float[rows * columns];
            for (int i = 0; i < values.length; i++) {
                values[i] = i;
            }
            from.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), source);
            from.synchronize();
            Tensor dense = here.matrix(DType.F32, rows, columns);
            Tensor wide = here.matrix(DType.F32, rows, columns + 1);
            to.matrix().fill(wide, -1);

            to.receive(from, source, dense);
            to.receive(from, source, wide.columns(1, columns));

            assertArrayEquals(values, floats(to, dense, host));
            float[] found = floats(to, wide, host);
            assertEquals(-1, found[columns + 1], "left of the view");
            assertEquals(values[columns], found[columns + 2]);
        }
    }

    private static float[] floats(Device device, Tensor tensor, Arena host) {
        MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, tensor.elements());
        device.download(tensor, values);
        return values.toArray(ValueLayout.JAVA_FLOAT);
    }

    @Test
    void a_name_that_means_no_device_is_a_wrong_setting() {
        for (String name : List.of("hip:", "hip:-1", "hip:0,1", "rocm", "cuda:x")) {
            UserError unknown = assertThrows(UserError.class, () -> Devices.open(name, 1));
            assertEquals(UserError.Code.BAD_SETTING, unknown.code(), name);
        }
    }

    @Test
    void the_real_runtime_without_a_card_is_an_answer_and_not_a_crash() {
        Path real = Path.of("/usr/lib/x86_64-linux-gnu/libamdhip64.so.5");
        Assumptions.assumeTrue(Files.exists(real) && !Files.exists(Path.of("/dev/kfd")),
                "needs Debian's HIP runtime and a machine without an AMD card (apt-get install libamdhip64-5)");
        System.setProperty(HIP, real.toString());
        Candidate hip = GpuDevices.list("hip").getFirst();
        assertFalse(hip.usable());
        assertTrue(hip.detail().contains("no usable device: hip: hipInit failed with code 10")
                && hip.detail().contains("there is no /dev/kfd"), hip.detail());
    }
}
