package dev.optgptq.kernels;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ranks.Crew;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.List;
import java.util.stream.Collectors;

/**
 * The devices of one job: one, or several that compute alike and share its work. Where several processes work as one, those of
 * this process, which knows of the others'.
 */
public final class DeviceGroup implements AutoCloseable {

    private final List<Device> devices;
    private final Crew crew;

    /**
     * Takes ownership of the devices, at least one, when it returns. UserError DEVICE if they do not all compute the
     * same bits.
     */
    public DeviceGroup(List<Device> devices) {
        this(devices, Crew.alone(devices.size()));
    }

    private DeviceGroup(List<Device> devices, Crew crew) {
        this.devices = List.copyOf(devices);
        this.crew = crew;
        Device first = this.devices.getFirst();
        for (Device other : this.devices) {
            if (!other.arithmetic().equals(first.arithmetic())) {
                throw new UserError(UserError.Code.DEVICE, "devices " + first.name() + " (" + first.arithmetic()
                        + ") and " + other.name() + " (" + other.arithmetic()
                        + ") differ: results would depend on which of them computed what; name devices that are alike");
            }
        }
    }

    /** A job of one device. Takes ownership of it. */
    public static DeviceGroup of(Device device) {
        return new DeviceGroup(List.of(device));
    }

    /** The same devices beside those of other processes, which call this too. */
    public DeviceGroup among(Ranks ranks) {
        return new DeviceGroup(devices, Crew.of(ranks, devices.size()));
    }

    /** The processes that share the job. */
    public Crew crew() {
        return crew;
    }

    /** The one that does the work that is not shared. */
    public Device first() {
        return devices.getFirst();
    }

    /** All of them, the first one first. */
    public List<Device> devices() {
        return devices;
    }

    /** All names: "hip:0, hip:1". */
    public String name() {
        return devices.stream().map(Device::name).collect(Collectors.joining(", "));
    }

    /** One line for people. */
    public String description() {
        return (devices.size() == 1 ? "" : devices.size() + " times ") + first().description();
    }

    /** Peak of the bytes allocated on one of them. */
    public long peakMemory() {
        return devices.stream().mapToLong(Device::peakMemory).max().orElse(0);
    }

    public int size() {
        return devices.size();
    }

    @Override
    public void close() {
        Closing.all(devices.stream().<Runnable>map(device -> device::close).toList());
    }
}
