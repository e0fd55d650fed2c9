//! `kindred queues`: what jobs are counted for, and what it may use and uses.

use kindred_proto::v1;

use crate::{
    args::Global,
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
};

/// Lists the queues, each before those that it is divided into.
pub async fn run(global: &Global) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let mut request = v1::ListQueuesRequest::default();
    let mut queues = Vec::new();
    loop {
        let page = client.answer(client.jobs().list_queues(request.clone())).await?;
        queues.extend(page.queues);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    output::list(global.output, &queues, "Queue", || table(&queues))?;
    Ok(Exit::Succeeded)
}

/// A row for each queue and kind of device.
fn table(queues: &[v1::Queue]) -> Table {
    let mut table = Table::new([
        "QUEUE",
        "PARENT",
        "WEIGHT",
        "DEVICE",
        "GUARANTEED",
        "MAX",
        "USED",
        "BORROWED",
        "RUNNING",
        "WAITING",
    ]);
    for queue in queues {
        let of_queue = [queue.name.clone(), queue.parent.clone(), queue.weight.to_string()];
        if queue.devices.is_empty() {
            table.row(of_queue.iter().cloned().chain((0..7).map(|_| String::new())));
        }
        for devices in &queue.devices {
            table.row(of_queue.iter().cloned().chain(numbers(queue, devices)));
        }
    }
    table
}

fn numbers(queue: &v1::Queue, devices: &v1::queue::Devices) -> [String; 7] {
    let kind = if devices.kind() == v1::DeviceKind::Cuda { "cuda" } else { "cpu" };
    // A queue that borrows nothing uses what it is guaranteed, whatever its limit.
    let max = match (queue.borrows, devices.max) {
        (true, max) => max.map_or(String::new(), |max| max.to_string()),
        (false, max) => max.unwrap_or(u32::MAX).min(devices.guaranteed).to_string(),
    };
    [
        kind.to_owned(),
        devices.guaranteed.to_string(),
        max,
        devices.used.to_string(),
        devices.borrowed.to_string(),
        devices.running_jobs.to_string(),
        devices.waiting_jobs.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_a_row_for_each_kind_of_device() {
        let devices = |kind: v1::DeviceKind, guaranteed, max, used| v1::queue::Devices {
            kind: kind.into(),
            guaranteed,
            max,
            used,
            borrowed: used - guaranteed,
            running_jobs: 2,
            ..Default::default()
        };
        let queue = |name: &str, borrows, devices| v1::Queue {
            name: name.to_owned(),
            weight: 1,
            borrows,
            devices,
            ..Default::default()
        };
        let (cpu, cuda) = (v1::DeviceKind::Cpu, v1::DeviceKind::Cuda);
        let research = queue("research", true, vec![devices(cpu, 0, None, 2), devices(cuda, 8, Some(16), 9)]);
        let vision = v1::Queue {
            parent: "research".to_owned(),
            ..queue("vision", false, vec![devices(cuda, 8, None, 8)])
        };
        let expected = "QUEUE     PARENT    WEIGHT  DEVICE  GUARANTEED  MAX  USED  BORROWED  RUNNING  WAITING
default   -         1       -       -           -    -     -         -        -
research  -         1       cpu     0           -    2     2         2        0
research  -         1       cuda    8           16   9     1         2        0
vision    research  1       cuda    8           8    8     0         2        0";
        let shown = table(&[queue("default", true, vec![]), research, vision]).to_string();
        assert_eq!(shown, expected);
    }
}
